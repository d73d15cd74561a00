import * as api from './generated/api'
import { equal, everything, run, same, truthy, typed, url } from './steps'

// Its functions call `fetch` with the paths of the document: the server and the token are added here.
const plain = globalThis.fetch
let token: string | undefined
globalThis.fetch = (input, init) => {
  const headers = new Headers(init?.headers)
  if (token && !headers.has('X-Anonymous')) headers.set('Authorization', `Bearer ${token}`)
  return plain(new URL(String(input), url), { ...init, headers })
}

run({
  async visitor() {
    const answer = await api.authVisitor()
    if (answer.status !== 200) throw answer.data
    token = typed<string>(answer.data.access_token)
    const me = await api.authMe()
    same(me.status === 200 && me.data.user_id, answer.data.user_id)
    same((await api.shopGetStatus()).data, 'open')
  },
  async body() {
    const answer = await api.shopAddLine({ line: { sku: 'tea', quantity: 2 } })
    if (answer.status !== 200) throw answer.data
    same(typed<number>(answer.data), 2)
  },
  async optional() {
    const line: api.Line = { sku: 'tea' } // its quantity has a default: no need to say it
    same((await api.shopAddLine({ line, note: 'abc' })).data, 6)
    same((await api.shopAddLine({ line, note: null })).data, 4)
    same((await api.shopOld({})).data, 'a')
  },
  async query() {
    const answer = await api.shopGetSearch({ text: 't', limit: 1, colours: ['red', 'green'], since: '2026-01-02' })
    if (answer.status !== 200) throw answer.data
    equal(typed<api.PageLine>(answer.data), { items: [{ sku: 'tredgreen2026-01-02-0', quantity: 0 }], next: null })
    const more = await api.shopGetSearch({ text: 't' })
    same(more.status === 200 && more.data.next, 'more')
  },
  async union() {
    const answer = await api.shopNamePet({ pet: { kind: 'dog', name: 'Rex' } })
    if (answer.status !== 200 || answer.data.kind !== 'cat') throw new Error('no cat')
    same(typed<number | undefined>(answer.data.lives), 3)
  },
  async nullable() {
    const answer = await api.shopFind({ sku: 'tea' })
    if (answer.status !== 200) throw answer.data
    same(typed<api.Line | null>(answer.data)?.quantity, 1)
    same((await api.shopFind({ sku: 'coffee' })).data, null)
  },
  async types() {
    equal((await api.shopEcho({ value: everything })).data, everything)
    same((await api.shopPutTree({ tree: { value: 1, children: [{ value: 2 }] } })).data, 2)
  },
  async big_integer() {
    const answer = await api.shopSquare({ number: '9007199254740993' })
    if (answer.status !== 200) throw answer.data
    same(typed<string>(answer.data), (9007199254740993n ** 2n).toString())
  },
  async no_content() {
    same((await api.shopDeleteBasket()).status, 204)
  },
  async unauthenticated() {
    const answer = await api.shopAddLine({ line: { sku: 'tea' } }, { headers: { 'X-Anonymous': '1' } })
    if (answer.status !== 401) throw new Error(`${answer.status}`)
    same(typed<'unauthenticated'>(answer.data.code), 'unauthenticated')
  },
  async forbidden() {
    const answer = await api.shopClose()
    if (answer.status !== 403) throw new Error(`${answer.status}`)
    same(typed<'forbidden'>(answer.data.code), 'forbidden')
  },
  async declared_errors() {
    const answer = await api.shopBuy({ sku: 'coffee' })
    if (answer.status !== 404) throw new Error(`${answer.status}`)
    if (answer.data.code !== 'unknown_article') throw new Error('another code')
    same(answer.data.data.sku, 'coffee')
    const gone = await api.shopBuy({ sku: 'gone' })
    if (gone.status !== 409) throw new Error(`${gone.status}`)
    if (gone.data.code !== 'sold_out') throw new Error('another code')
    same(gone.data.data.sku, 'gone')
  },
  async invalid() {
    // @ts-expect-error: the compiler sees it first
    const answer = await api.shopAddLine({ line: {} })
    if (answer.status !== 422) throw new Error(`${answer.status}`)
    equal(answer.data.detail[0]?.loc, ['body', 'line', 'sku'])
  },
  async upload() {
    const answer = await api.filesUpload({ file: new File(['12345'], 'five.txt'), title: 'five' })
    same(answer.data, 'five: 5 bytes')
  },
  async download() {
    const answer = await api.filesGetDownload({ size: 300 })
    if (answer.status !== 200) throw answer.data
    same(typed<Blob>(answer.data).size, 300)
  },
  async byte_stream() {
    same((await api.filesExport({ rows: 3 })).data, '0,tea\n1,tea\n2,tea\n')
  },
  async stream() {
    const answer = await api.feedTalk({ words: ['a', 'b'] })
    truthy(String(answer.data).endsWith('event: close\n\n'))
    throw new Error('gives the frames as one string when all is over')
  },
  async stream_early_error() {
    const answer = await api.feedFail({ after: 0 })
    if (answer.status !== 409) throw new Error(`${answer.status}`)
    same(answer.data.code, typed<'sold_out'>('sold_out'))
  },
  async sign_in() {
    const name: api.UpgradeRequest = { username: 'orval', password: 'a long password' }
    const upgraded = await api.authUpgrade(name)
    if (upgraded.status !== 200) throw upgraded.data
    const pair = await api.authLogin(name)
    if (pair.status !== 200) throw pair.data
    const refreshed = await api.authRefresh({ refresh_token: pair.data.refresh_token })
    if (refreshed.status !== 200) throw refreshed.data
    token = refreshed.data.access_token
    const me = await api.authMe()
    same(me.status === 200 && me.data.visitor, false)
    same((await api.authLogout()).status, 204)
    same((await api.authMe()).status, 401)
  },
})
