// Swagger UI's own client: it makes the calls of the document at run time, without types.
import { deepStrictEqual as equal, ok, strictEqual as same } from 'node:assert'
import { readFileSync } from 'node:fs'
import SwaggerClient from 'swagger-client'

const url = process.argv[2]
const everything = JSON.parse(readFileSync('everything.json', 'utf8'))
const client = await SwaggerClient({ url: `${url}/openapi.json` })
same(client.errors.length, 0)
let token
const bearer = () => ({ securities: { authorized: { PotoBearer: { value: token } } } })
const call = (name, { parameters = {}, ...options } = {}) => {
  const api = client.apis[name.split('_')[0]]
  return api[name](parameters, { ...bearer(), ...options })
}
const post = async (name, requestBody) => (await call(name, { requestBody })).body
const failing = async (promise) => {
  try {
    await promise
  } catch (error) {
    return error.response
  }
  throw new Error('it did not fail')
}

const steps = {
  async visitor() {
    const tokens = (await client.apis.Auth.Auth_visitor()).body
    token = tokens.access_token
    same((await call('Auth_me')).body.user_id, tokens.user_id)
    same((await client.apis.Shop.Shop_get_status()).body, 'open')
  },
  async body() {
    same(await post('Shop_add_line', { line: { sku: 'tea', quantity: 2 } }), 2)
  },
  async optional() {
    same(await post('Shop_add_line', { line: { sku: 'tea' }, note: 'abc' }), 6)
    same(await post('Shop_add_line', { line: { sku: 'tea' }, note: null }), 4)
  },
  async query() {
    const parameters = { text: 't', limit: 1, colours: ['red', 'green'], since: '2026-01-02' }
    equal((await call('Shop_get_search', { parameters })).body.items, [{ sku: 'tredgreen2026-01-02-0', quantity: 0 }])
    same((await call('Shop_get_search', { parameters: { text: 't' } })).body.next, 'more')
  },
  async union() {
    equal(await post('Shop_name_pet', { pet: { kind: 'dog', name: 'Rex' } }), { kind: 'cat', lives: 3 })
  },
  async nullable() {
    same(await post('Shop_find', { sku: 'coffee' }), null)
    equal(await post('Shop_find', { sku: 'tea' }), { sku: 'tea', quantity: 1 })
  },
  async types() {
    equal(await post('Shop_echo', { value: everything }), everything)
  },
  async big_integer() {
    same(await post('Shop_square', { number: '9007199254740993' }), (9007199254740993n ** 2n).toString())
  },
  async no_content() {
    same((await call('Shop_delete_basket')).status, 204)
  },
  async unauthenticated() {
    const requestBody = { line: { sku: 'tea' } }
    const answer = await failing(client.apis.Shop.Shop_add_line({}, { requestBody }))
    equal([answer.status, answer.body.code], [401, 'unauthenticated'])
  },
  async forbidden() {
    const answer = await failing(call('Shop_close'))
    equal([answer.status, answer.body.code], [403, 'forbidden'])
  },
  async declared_errors() {
    const answer = await failing(post('Shop_buy', { sku: 'coffee' }))
    equal([answer.status, answer.body.code], [404, 'unknown_article'])
    const gone = await failing(post('Shop_buy', { sku: 'gone' }))
    equal([gone.status, gone.body.data.sku], [409, 'gone'])
  },
  async invalid() {
    const answer = await failing(post('Shop_add_line', { line: {} }))
    equal([answer.status, answer.body.detail[0].loc], [422, ['body', 'line', 'sku']])
  },
  async upload() {
    same(await post('Files_upload', { file: new File(['12345'], 'five.txt'), title: 'five' }), 'five: 5 bytes')
  },
  async download() {
    const answer = await call('Files_get_download', { parameters: { size: 300 } })
    same((answer.data.size ?? answer.data.length), 300)
  },
  async byte_stream() {
    same((await call('Files_export', { requestBody: { rows: 3 } })).text, '0,tea\n1,tea\n2,tea\n')
  },
  async stream() {
    const { text } = await call('Feed_talk', { requestBody: { words: ['a', 'b'] } })
    ok(text.endsWith('event: close\n\n'))
    throw new Error('gives the frames as one string when all is over')
  },
  async stream_early_error() {
    const answer = await failing(post('Feed_fail', { after: 0 }))
    equal([answer.status, answer.body.code], [409, 'sold_out'])
  },
  async sign_in() {
    const name = { username: 'swagger-client', password: 'a long password' }
    token = (await post('Auth_upgrade', name)).access_token
    const pair = (await client.apis.Auth.Auth_login({}, { requestBody: name })).body
    token = (await post('Auth_refresh', { refresh_token: pair.refresh_token })).access_token
    same((await call('Auth_me')).body.visitor, false)
    same((await call('Auth_logout')).status, 204)
    same((await failing(call('Auth_me'))).status, 401)
  },
}

const result = {}
for (const [name, step] of Object.entries(steps)) {
  try {
    await step()
    result[name] = null
  } catch (error) {
    result[name] = `${error.name}: ${error.message}`
  }
}
process.stdout.write(JSON.stringify(result))
