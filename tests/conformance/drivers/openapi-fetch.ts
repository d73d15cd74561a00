import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './generated/schema'
import { equal, everything, run, same, truthy, typed, url } from './steps'

type Schemas = components['schemas']

let token: string | undefined
const bearer: Middleware = {
  onRequest({ request }) {
    if (token) request.headers.set('Authorization', `Bearer ${token}`)
    return request
  },
}
const client = createClient<paths>({ baseUrl: url })
client.use(bearer)
const anonymous = createClient<paths>({ baseUrl: url })

run({
  async visitor() {
    const { data, error } = await anonymous.POST('/auth/visitor')
    if (error) throw error
    token = typed<string>(data.access_token)
    const me = await client.GET('/auth/me')
    same(me.data?.user_id, data.user_id)
    same((await anonymous.GET('/Shop/status')).data, 'open')
  },
  async body() {
    const { data } = await client.POST('/Shop/add_line', { body: { line: { sku: 'tea', quantity: 2 } } })
    same(typed<number | undefined>(data), 2)
  },
  async optional() {
    const line = { sku: 'tea' } // its quantity has a default: no need to say it
    same((await client.POST('/Shop/add_line', { body: { line, note: 'abc' } })).data, 6)
    same((await client.POST('/Shop/add_line', { body: { line, note: null } })).data, 4)
    same((await client.POST('/Shop/old', { body: {} })).data, 'a')
  },
  async query() {
    const { data } = await client.GET('/Shop/search', {
      params: { query: { text: 't', limit: 1, colours: ['red', 'green'], since: '2026-01-02' } },
    })
    equal(typed<Schemas['PageLine'] | undefined>(data), {
      items: [{ sku: 'tredgreen2026-01-02-0', quantity: 0 }],
      next: null,
    })
    same((await client.GET('/Shop/search', { params: { query: { text: 't' } } })).data?.next, 'more')
  },
  async union() {
    const { data } = await client.POST('/Shop/name_pet', { body: { pet: { kind: 'dog', name: 'Rex' } } })
    if (data?.kind !== 'cat') throw new Error('no cat')
    same(typed<number | undefined>(data.lives), 3)
  },
  async nullable() {
    const { data } = await client.POST('/Shop/find', { body: { sku: 'coffee' } })
    same(typed<Schemas['Line'] | null | undefined>(data), null)
    same((await client.POST('/Shop/find', { body: { sku: 'tea' } })).data?.quantity, 1)
  },
  async types() {
    equal((await client.POST('/Shop/echo', { body: { value: everything } })).data, everything)
    same((await client.PUT('/Shop/tree', { body: { tree: { value: 1, children: [{ value: 2 }] } } })).data, 2)
  },
  async big_integer() {
    const { data } = await client.POST('/Shop/square', { body: { number: '9007199254740993' } })
    same(typed<string | undefined>(data), (9007199254740993n ** 2n).toString())
  },
  async no_content() {
    const { data, response } = await client.DELETE('/Shop/basket')
    same(response.status, 204)
    truthy(!data)
  },
  async unauthenticated() {
    const { error, response } = await anonymous.POST('/Shop/add_line', { body: { line: { sku: 'tea' } } })
    same(response.status, 401)
    same(error?.code, typed<'unauthenticated'>('unauthenticated'))
  },
  async forbidden() {
    const { error, response } = await client.POST('/Shop/close')
    same(response.status, 403)
    same(error?.code, typed<'forbidden'>('forbidden'))
  },
  async declared_errors() {
    const { error, response } = await client.POST('/Shop/buy', { body: { sku: 'coffee' } })
    same(response.status, 404)
    if (error?.code !== 'unknown_article') throw new Error('another code')
    same(error.data.sku, 'coffee')
    const gone = await client.POST('/Shop/buy', { body: { sku: 'gone' } })
    same(gone.response.status, 409)
    if (gone.error?.code !== 'sold_out') throw new Error('another code')
    same(gone.error.data.sku, 'gone')
  },
  async invalid() {
    // @ts-expect-error: the compiler sees it first
    const { error, response } = await client.POST('/Shop/add_line', { body: { line: {} } })
    same(response.status, 422)
    if (error?.code !== 'validation_error') throw new Error('another code')
    equal(error.detail[0]?.loc, ['body', 'line', 'sku'])
  },
  async upload() {
    const { data } = await client.POST('/Files/upload', {
      // A file is a `string` here; only the generator's Node API could say `Blob` (its `transform`).
      body: { file: new Blob(['12345']) as unknown as string, title: 'five' },
      bodySerializer(body) {
        const form = new FormData()
        form.append('file', body.file as unknown as Blob, 'five.txt')
        if (body.title) form.append('title', body.title)
        return form
      },
    })
    same(data, 'five: 5 bytes')
  },
  async download() {
    const { data } = await client.GET('/Files/download', { params: { query: { size: 300 } }, parseAs: 'arrayBuffer' })
    same(data?.byteLength, 300)
  },
  async byte_stream() {
    const { data } = await client.POST('/Files/export', { body: { rows: 3 }, parseAs: 'stream' })
    let text = ''
    for await (const chunk of data as unknown as AsyncIterable<Uint8Array>) text += Buffer.from(chunk).toString()
    same(text, '0,tea\n1,tea\n2,tea\n')
  },
  async stream() {
    const { data } = await client.POST('/Feed/talk', { body: { words: ['a', 'b'] }, parseAs: 'stream' })
    const items: (Schemas['Token'] | Schemas['Done'])[] = []
    let text = ''
    for await (const chunk of data as unknown as AsyncIterable<Uint8Array>) text += Buffer.from(chunk).toString()
    for (const line of text.split('\n')) {
      if (line.startsWith('data: ')) items.push(JSON.parse(line.slice(6)) as Schemas['Token'] | Schemas['Done'])
    }
    equal(items, [
      { type: 'token', text: 'a' },
      { type: 'token', text: 'b' },
      { type: 'done', tokens: 2 },
    ])
    truthy(text.endsWith('event: close\n\n'))
    throw new Error('frames are split by hand: it has no reader of event streams')
  },
  async stream_early_error() {
    const { error, response } = await client.POST('/Feed/fail', { body: { after: 0 }, parseAs: 'stream' })
    same(response.status, 409)
    same(error?.code, typed<'sold_out'>('sold_out'))
  },
  async sign_in() {
    const name = { username: 'openapi-fetch', password: 'a long password' }
    token = (await client.POST('/auth/upgrade', { body: name })).data?.access_token
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
    const { data } = await anonymous.POST('/auth/login', { body: name, headers })
    const body = { refresh_token: data?.refresh_token ?? '' }
    token = (await anonymous.POST('/auth/refresh', { body })).data?.access_token
    same((await client.GET('/auth/me')).data?.visitor, false)
    same((await client.POST('/auth/logout')).response.status, 204)
    same((await client.GET('/auth/me')).response.status, 401)
  },
})
