import * as api from './generated'
import { equal, everything, run, same, truthy, typed, url } from './steps'

let token = ''
const configuration = new api.Configuration({ basePath: url, accessToken: async () => token })
const anonymous = new api.Configuration({ basePath: url })
const shop = new api.ShopApi(configuration)
const files = new api.FilesApi(configuration)
const feed = new api.FeedApi(configuration)

/** The status and the body of the error that a call ends with. */
async function failing(call: Promise<unknown>): Promise<[number, any]> {
  try {
    await call
  } catch (error) {
    if (!(error instanceof api.ResponseError)) throw error
    return [error.response.status, await error.response.json()]
  }
  throw new Error('it did not fail')
}

run({
  async visitor() {
    const tokens = await new api.AuthApi(anonymous).authVisitor()
    token = typed<string>(tokens.accessToken)
    same((await new api.AuthApi(configuration).authMe()).userId, tokens.userId)
    same(await new api.ShopApi(anonymous).shopGetStatus(), 'open')
  },
  async body() {
    const count = await shop.shopAddLine({ shopAddLineRequest: { line: { sku: 'tea', quantity: 2 } } })
    same(typed<number>(count), 2)
  },
  async optional() {
    const line: api.Line = { sku: 'tea' } // its quantity has a default: no need to say it
    same(await shop.shopAddLine({ shopAddLineRequest: { line, note: 'abc' } }), 6)
    same(await shop.shopAddLine({ shopAddLineRequest: { line, note: null } }), 4)
    same(await shop.shopOld({ shopOldRequest: {} }), 'a')
  },
  async query() {
    const page = await shop.shopGetSearch({
      text: 't', limit: 1, colours: ['red', 'green'], since: new Date('2026-01-02'),
    })
    equal(typed<api.PageLine>(page), { items: [{ sku: 'tredgreen2026-01-02-0', quantity: 0 }], next: null })
    same((await shop.shopGetSearch({ text: 't' })).next, 'more')
  },
  async union() {
    const pet = await shop.shopNamePet({ shopNamePetRequest: { pet: { kind: 'dog', name: 'Rex' } } })
    if (pet.kind !== 'cat') throw new Error('no cat')
    same(typed<number | undefined>(pet.lives), 3)
  },
  async nullable() {
    same((await shop.shopFind({ shopFindRequest: { sku: 'tea' } }))?.quantity, 1)
    same(await shop.shopFind({ shopFindRequest: { sku: 'coffee' } }), null)
  },
  async types() {
    const value = {
      ...everything, at: new Date(everything.at), day: new Date(everything.day), tags: new Set(everything.tags),
    }
    const found = await shop.shopEcho({ shopEchoRequest: { value } })
    equal(api.EverythingOutputToJSON(found), { ...everything, at: value.at.toISOString() })
    const tree: api.TreeInput = { value: 1, children: [{ value: 2 }] }
    same(await shop.shopPutTree({ shopPutTreeRequest: { tree } }), 2)
  },
  async big_integer() {
    const found = await shop.shopSquare({ shopSquareRequest: { number: '9007199254740993' } })
    same(typed<string>(found), (9007199254740993n ** 2n).toString())
  },
  async no_content() {
    same(await shop.shopDeleteBasket(), undefined)
  },
  async unauthenticated() {
    const line = { sku: 'tea' }
    const [status, body] = await failing(new api.ShopApi(anonymous).shopAddLine({ shopAddLineRequest: { line } }))
    same(status, 401)
    same(api.UnauthenticatedErrorFromJSON(body).code, 'unauthenticated')
  },
  async forbidden() {
    const [status, body] = await failing(shop.shopClose())
    same(status, 403)
    same(api.ForbiddenErrorFromJSON(body).code, 'forbidden')
  },
  async declared_errors() {
    const [status, body] = await failing(shop.shopBuy({ shopBuyRequest: { sku: 'coffee' } }))
    same(status, 404)
    same(api.UnknownArticleErrorFromJSON(body).code, 'unknown_article')
    const [conflict, gone] = await failing(shop.shopBuy({ shopBuyRequest: { sku: 'gone' } }))
    same(conflict, 409)
    same(api.SoldOutErrorFromJSON(gone).data?.sku, 'gone')
  },
  async invalid() {
    // @ts-expect-error: the compiler sees it first
    const [status, body] = await failing(shop.shopAddLine({ shopAddLineRequest: { line: {} } }))
    same(status, 422)
    equal(api.ValidationErrorFromJSON(body).detail[0]?.type, 'missing')
  },
  async upload() {
    same(await files.filesUpload({ file: new File(['12345'], 'five.txt'), title: 'five' }), 'five: 5 bytes')
  },
  async download() {
    same(typed<Blob>(await files.filesGetDownload({ size: 300 })).size, 300)
  },
  async byte_stream() {
    same(await files.filesExport({ filesExportRequest: { rows: 3 } }), '0,tea\n1,tea\n2,tea\n')
  },
  async stream() {
    // The raw answer can be read by any reader of event streams; the generated method wants one JSON document.
    const { raw } = await feed.feedTalkRaw({ feedTalkRequest: { words: ['a', 'b'] } })
    truthy((await raw.text()).endsWith('event: close\n\n'))
    throw new Error('gives the raw answer only')
  },
  async stream_early_error() {
    const [status, body] = await failing(feed.feedFail({ feedFailRequest: { after: 0 } }))
    same(status, 409)
    same(api.SoldOutErrorFromJSON(body).code, 'sold_out')
  },
  async sign_in() {
    const auth = new api.AuthApi(configuration)
    const name: api.UpgradeRequest = { username: 'typescript-fetch', password: 'a long password' }
    token = (await auth.authUpgrade({ upgradeRequest: name })).accessToken
    const pair = await new api.AuthApi(anonymous).authLogin(name)
    token = (await auth.authRefresh({ refreshRequest: { refreshToken: pair.refreshToken } })).accessToken
    same((await auth.authMe()).visitor, false)
    same(await auth.authLogout(), undefined)
    same((await failing(auth.authMe()))[0], 401)
  },
})
