import * as api from './generated'
import { payloads, post, runNarrowing, typed, url, visitor, type Exactly, type Left } from './steps'

function refused(error: api.ShopBuyFailure404 | api.ShopBuyFailure409): string {
  switch (error.code) {
    case 'unknown_article':
      typed<Exactly<typeof error.data.sku, string>>(true)
      return `unknown_article ${error.data.sku}`
    case 'sold_out':
      typed<Exactly<typeof error.data.sku, string>>(true)
      return `sold_out ${error.data.sku}`
    case 'too_dear':
      typed<Exactly<typeof error.data.price, number>>(true)
      return `too_dear ${error.data.price}`
    default:
      typed<Left<typeof error>>(true)
      return 'other'
  }
}

function failed(error: api.FeedWordsStreamFailure['$error'] | api.FeedWordsFailure409): string {
  switch (error.code) {
    case 'sold_out':
      typed<Exactly<typeof error.data.sku, string>>(true)
      return `sold_out ${error.data.sku}`
    case 'too_dear':
      typed<Exactly<typeof error.data.price, number>>(true)
      return `too_dear ${error.data.price}`
    default:
      typed<Left<typeof error>>(true)
      return 'other'
  }
}

function ofWords(item: api.FeedWords200Response): string {
  if (typeof item === 'string') return item
  return failed(item.$error)
}
function ofLines(item: api.FeedLines200Response): string {
  return '$error' in item ? failed(item.$error) : item.sku
}
function ofNotes(item: api.FeedNotes200Response): string {
  return '$error' in item ? failed(item.$error) : `${item.code} ${item.detail}`
}

const token = await visitor()
const configuration = new api.Configuration({ basePath: url, accessToken: token })
const text = async (path: string, sku: string) => (await post(path, { sku }, token)).text()

/** The response of the error that a call ends with. */
async function failing(call: Promise<unknown>): Promise<Response> {
  try {
    await call
  } catch (error) {
    if (error instanceof api.ResponseError) return error.response
    throw error
  }
  throw new Error('it did not fail')
}

await runNarrowing(
  async (sku) => {
    const response = await failing(new api.ShopApi(configuration).shopBuy({ shopBuyRequest: { sku } }))
    const body = await response.json()
    return refused(response.status === 404 ? api.ShopBuyFailure404FromJSON(body) : api.ShopBuyFailure409FromJSON(body))
  },
  async () => {
    const feedWordsRequest = { sku: 'gold', after: 0 }
    const response = await failing(new api.FeedApi(configuration).feedWords({ feedWordsRequest }))
    return failed(api.FeedWordsFailure409FromJSON(await response.json()))
  },
  {
    words: async () => payloads(await text('/Feed/words', 'gold')).map(api.FeedWords200ResponseFromJSON).map(ofWords),
    lines: async () => payloads(await text('/Feed/lines', 'gone')).map(api.FeedLines200ResponseFromJSON).map(ofLines),
    notes: async () => payloads(await text('/Feed/notes', 'new')).map(api.FeedNotes200ResponseFromJSON).map(ofNotes),
  },
)
