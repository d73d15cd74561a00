import * as sdk from './generated'
import { client } from './generated/client.gen'
import { breaking, equal, everything, run, same, truthy, typed, url } from './steps'

let token: string | undefined
client.setConfig({ baseUrl: url, auth: () => token })
const once = { sseMaxRetryAttempts: 1 }

run({
  async visitor() {
    const { data } = await sdk.authVisitor({ throwOnError: true })
    token = typed<string>(data.access_token)
    same((await sdk.authMe({ throwOnError: true })).data.user_id, data.user_id)
    same((await sdk.shopGetStatus()).data, 'open')
  },
  async body() {
    const { data } = await sdk.shopAddLine({ body: { line: { sku: 'tea', quantity: 2 } } })
    same(typed<number | undefined>(data), 2)
  },
  async optional() {
    const line: sdk.Line = { sku: 'tea' } // its quantity has a default: no need to say it
    same((await sdk.shopAddLine({ body: { line, note: 'abc' } })).data, 6)
    same((await sdk.shopAddLine({ body: { line, note: null } })).data, 4)
    same((await sdk.shopOld({ body: {} })).data, 'a')
  },
  async query() {
    const { data } = await sdk.shopGetSearch({
      query: { text: 't', limit: 1, colours: ['red', 'green'], since: '2026-01-02' },
    })
    equal(typed<sdk.PageLine | undefined>(data), {
      items: [{ sku: 'tredgreen2026-01-02-0', quantity: 0 }],
      next: null,
    })
    same((await sdk.shopGetSearch({ query: { text: 't' } })).data?.next, 'more')
  },
  async union() {
    const { data } = await sdk.shopNamePet({ body: { pet: { kind: 'dog', name: 'Rex' } } })
    if (data?.kind !== 'cat') throw new Error('no cat')
    same(typed<number | undefined>(data.lives), 3)
  },
  async nullable() {
    const { data } = await sdk.shopFind({ body: { sku: 'coffee' } })
    same(typed<sdk.Line | null | undefined>(data), null)
    same((await sdk.shopFind({ body: { sku: 'tea' } })).data?.quantity, 1)
  },
  async types() {
    equal((await sdk.shopEcho({ body: { value: everything } })).data, everything)
    same((await sdk.shopPutTree({ body: { tree: { value: 1, children: [{ value: 2 }] } } })).data, 2)
  },
  async big_integer() {
    const { data } = await sdk.shopSquare({ body: { number: '9007199254740993' } })
    same(typed<string | undefined>(data), (9007199254740993n ** 2n).toString())
  },
  async no_content() {
    const { error, response } = await sdk.shopDeleteBasket()
    same(response?.status, 204)
    same(error, undefined)
  },
  async unauthenticated() {
    const { error, response } = await sdk.shopAddLine({ body: { line: { sku: 'tea' } }, auth: () => undefined })
    same(response?.status, 401)
    same(error?.code, typed<'unauthenticated'>('unauthenticated'))
  },
  async forbidden() {
    const { error, response } = await sdk.shopClose()
    same(response?.status, 403)
    same(error?.code, typed<'forbidden'>('forbidden'))
  },
  async declared_errors() {
    const { error, response } = await sdk.shopBuy({ body: { sku: 'coffee' } })
    same(response?.status, 404)
    same(error?.code, typed<'unknown_article'>('unknown_article'))
    const gone = await sdk.shopBuy({ body: { sku: 'gone' } })
    same(gone.response?.status, 409)
    if (gone.error?.code !== 'sold_out') throw new Error('another code')
    same(gone.error.data.sku, 'gone')
  },
  async invalid() {
    // @ts-expect-error: the compiler sees it first
    const { error, response } = await sdk.shopAddLine({ body: { line: {} } })
    same(response?.status, 422)
    if (error?.code !== 'validation_error') throw new Error('another code')
    equal(error.detail[0]?.loc, ['body', 'line', 'sku'])
  },
  async upload() {
    const { data } = await sdk.filesUpload({ body: { file: new File(['12345'], 'five.txt'), title: 'five' } })
    same(data, 'five: 5 bytes')
  },
  async download() {
    const { data } = await sdk.filesGetDownload({ query: { size: 300 } })
    same(typed<Blob | File | undefined>(data)?.size, 300)
  },
  async byte_stream() {
    const { data } = await sdk.filesExport({ body: { rows: 3 } })
    same(typed<string | undefined>(data), '0,tea\n1,tea\n2,tea\n')
  },
  async stream() {
    const { stream } = await sdk.feedTalk({ body: { words: ['a', 'b'] } })
    const items: (sdk.Token | sdk.Done)[] = []
    for await (const item of stream) {
      if ('$error' in item) throw item
      items.push(item)
    }
    equal(items, [
      { type: 'token', text: 'a' },
      { type: 'token', text: 'b' },
      { type: 'done', tokens: 2 },
    ])
    const lines: sdk.Line[] = []
    for await (const item of (await sdk.feedGetLines({ query: { count: 2 } })).stream) {
      if ('sku' in item) lines.push(item)
    }
    equal(lines, [{ sku: 'tea-0', quantity: 1 }, { sku: 'tea-1', quantity: 1 }])
  },
  async stream_early_error() {
    let seen: unknown
    const { stream } = await sdk.feedFail({ body: { after: 0 }, ...once, onSseError: (error) => (seen = error) })
    for await (const item of stream) throw item
    truthy(seen)
    const body = JSON.stringify(seen) + String(seen)
    if (!body.includes('sold_out')) throw new Error(`only ${String(seen)}: the body is not given`)
  },
  async stream_error() {
    const seen: string[] = []
    const { stream } = await sdk.feedFail({ body: { after: 2 }, ...once })
    for await (const item of stream) {
      seen.push('$error' in item ? String(item.$error.code) : item.sku)
    }
    equal(seen, ['tea-0', 'tea-1', 'sold_out'])
  },
  async resume() {
    const ids: (string | null)[] = []
    const { stream } = await sdk.feedCount({
      body: { to: 20 },
      fetch: breaking(100, ids),
      sseDefaultRetryDelay: 10,
      sseMaxRetryAttempts: 3,
    })
    const items: number[] = []
    for await (const item of stream) {
      if (typeof item !== 'number') throw item
      items.push(item)
    }
    equal(items, Array.from({ length: 20 }, (_, at) => at + 1))
    same(ids.length, 2)
    truthy(ids[1])
  },
  async sign_in() {
    const name: sdk.UpgradeRequest = { username: 'hey-api', password: 'a long password' }
    token = (await sdk.authUpgrade({ body: name })).data?.access_token
    const { data } = await sdk.authLogin({ body: name, throwOnError: true })
    token = (await sdk.authRefresh({ body: { refresh_token: data.refresh_token } })).data?.access_token
    same((await sdk.authMe()).data?.visitor, false)
    same((await sdk.authLogout()).response?.status, 204)
    same((await sdk.authMe()).response?.status, 401)
  },
})
