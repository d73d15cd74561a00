import { Api, type FeedWordsStreamFailure } from './generated/api'
import { payloads, runNarrowing, typed, url, visitor, type Exactly, type Left } from './steps'

type Item<Call extends (...given: any) => Promise<{ data: unknown }>> = Awaited<ReturnType<Call>>['data']

const token = await visitor()
const api = new Api({ baseUrl: url, baseApiParams: { headers: { Authorization: `Bearer ${token}` } } })

function refused(error: Awaited<ReturnType<typeof api.shop.shopBuy>>['error']): string {
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

function failed(error: FeedWordsStreamFailure['$error'] | Awaited<ReturnType<typeof api.feed.feedWords>>['error']): string {
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

function ofWords(item: Item<typeof api.feed.feedWords>): string {
  if (typeof item === 'string') return item
  return failed(item.$error)
}
function ofLines(item: Item<typeof api.feed.feedLines>): string {
  return '$error' in item ? failed(item.$error) : item.sku
}
function ofNotes(item: Item<typeof api.feed.feedNotes>): string {
  return '$error' in item ? failed(item.$error) : `${item.code} ${item.detail}`
}

const text = async (call: Promise<Response>) => (await call).text()

await runNarrowing(
  async (sku) => {
    const { error } = await api.shop.shopBuy({ sku })
    return error ? refused(error) : 'bought'
  },
  async () => {
    const { error } = await api.feed.feedWords({ sku: 'gold', after: 0 }, { format: 'json' })
    return error ? failed(error) : 'streamed'
  },
  {
    words: async () => payloads(await text(api.feed.feedWords({ sku: 'gold' }))).map(ofWords),
    lines: async () => payloads(await text(api.feed.feedLines({ sku: 'gone' }))).map(ofLines),
    notes: async () => payloads(await text(api.feed.feedNotes({ sku: 'new' }))).map(ofNotes),
  },
)
