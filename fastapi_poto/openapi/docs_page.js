// A plugin of Swagger UI. Streams show their events as they come, with a button that stops them; Authorize signs in
// a visitor by one click. Loaded after Swagger UI and before the page starts it.
;(() => {
  const KEPT = 50 // events: highlighting many thousands would take the page seconds
  const PAUSE = 150 // milliseconds between two pictures of a running stream
  const running = new Map() // by operation: what stops it
  const keyOf = (path, method) => `${method} ${path}`

  // What a reader is told of a stream that has come so far, as a comment of the stream itself.
  const ENDS = { close: 'complete', error: 'failed' }
  function picture(events, count, hidden, end) {
    const words = `: ${count} ${count === 1 ? 'event' : 'events'}, ${end}`
    return `${hidden > 0 ? `: ${hidden} earlier events are not shown\n\n` : ''}${events.join('\n\n')}\n\n${words}\n`
  }

  async function play(response, show, stopped) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    let events = []
    let count = 0 // of items
    let total = 0
    let end = null
    let shown = 0
    const take = (text) => {
      const frames = (rest + text.replace(/^: ping\n/gm, '')).split('\n\n')
      rest = frames.pop()
      for (const frame of frames.filter((one) => one.trim())) {
        const name = /^event: (close|error)$/m.exec(frame)
        if (name) end = ENDS[name[1]]
        events.push(frame)
        if (!name) count += 1
        total += 1
      }
      events = events.slice(-KEPT)
    }
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        take(value)
        if (Date.now() - shown > PAUSE) {
          shown = Date.now()
          show(picture(events, count, total - events.length, 'running'))
        }
      }
    } catch {
      // Stopped, or cut off: what came before is worth reading.
    }
    return picture(events, count, total - events.length, end ?? (stopped() ? 'stopped' : 'cut off'))
  }

  function executeRequest(original, system) {
    return (request) => {
      const { pathName, method } = request
      const key = keyOf(pathName, method)
      const control = new AbortController()
      const userFetch = async (url, options) => {
        const response = await fetch(url, { ...options, signal: control.signal })
        if (!(response.headers.get('content-type') ?? '').startsWith('text/event-stream')) return response
        const { status, statusText } = response
        const headers = Object.fromEntries(response.headers)
        const show = (text) =>
          system.specActions.setResponse(pathName, method, { url, status, statusText, headers, text, data: text })
        running.set(key, () => control.abort())
        show(picture([], 0, 0, 'running'))
        const text = await play(response, show, () => control.signal.aborted)
        running.delete(key)
        return new Response(text, { status, statusText, headers: response.headers })
      }
      return original({ ...request, userFetch })
    }
  }

  const StoppableExecute = (Original, { React }) => (props) => {
    const stop = running.get(keyOf(props.path, props.method))
    const button = { className: 'btn cancel poto-stop', onClick: stop }
    return React.createElement(
      React.Fragment,
      null,
      React.createElement(Original, props),
      stop && React.createElement('button', button, 'Stop'),
    )
  }

  const WaysToSignIn = (Original, system) => (props) => {
    const { React } = system
    const h = React.createElement
    const [said, say] = React.useState('')
    const panel = React.useRef(null)
    // Swagger UI puts the cursor into a field below, and scrolls there.
    React.useEffect(() => {
      panel.current?.scrollIntoView() // a promise, where React wants nothing or a function
    }, [])
    const schemes = system.specSelectors.specJson().getIn(['components', 'securitySchemes'])
    const login = schemes?.getIn(['PotoPassword', 'flows', 'password', 'tokenUrl'])
    if (!login || !props.definitions?.has('PotoBearer')) return h(Original, props) // one panel, not one a scheme
    const paths = system.specSelectors.specJson().get('paths')?.keySeq()
    const visitors = paths?.some((path) => path.endsWith('/auth/visitor')) // else they are off
    async function visitor() {
      const base = new URL(system.specSelectors.url(), location.href)
      const response = await fetch(new URL(login.replace(/login$/, 'visitor'), base), { method: 'POST' })
      const body = await response.json()
      if (!response.ok) return say(`${response.status}: ${body.detail}`)
      const schema = schemes.get('PotoBearer')
      system.authActions.authorize({ PotoBearer: { name: 'PotoBearer', schema, value: body.access_token } })
      say(`Signed in as ${body.user_id}. To come back as the same visitor, keep its password: ${body.password}`)
    }
    return h(
      'div',
      null,
      h(
        'div',
        { className: 'auth-container poto-ways', ref: panel },
        h('h4', null, 'Ways to sign in'),
        visitors && h('button', { className: 'btn authorize', onClick: visitor }, 'Sign in as a new visitor'),
        visitors && h('p', null, said || 'One click: no name, no password. Or, below:'),
        h(
          'ul',
          null,
          h('li', null, 'a name and a password (PotoPassword): the other fields stay empty'),
          h('li', null, 'an access token (PotoBearer), of this application or of an issuer that it trusts'),
        ),
      ),
      h(Original, props),
    )
  }

  const plugin = () => ({
    statePlugins: { spec: { wrapActions: { executeRequest } } },
    wrapComponents: { execute: StoppableExecute, auths: WaysToSignIn },
  })
  const start = window.SwaggerUIBundle
  window.SwaggerUIBundle = Object.assign(
    (config) => start({ ...config, plugins: [...(config.plugins ?? []), plugin] }),
    start,
  )
})()
