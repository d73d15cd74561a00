import type * as api from './generated/types'
import { payloads, post, runNarrowing, typed, visitor, type Exactly, type Left } from './steps'

function refused(error: api.ShopBuyMutation['Errors']): string {
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

function failed(error: api.FeedWordsStreamFailure['$error'] | api.FeedWords409): string {
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

function ofWords(item: api.FeedWords200): string {
  if (typeof item === 'string') return item
  return failed(item.$error)
}
function ofLines(item: api.FeedLines200): string {
  return '$error' in item ? failed(item.$error) : item.sku
}
function ofNotes(item: api.FeedNotes200): string {
  return '$error' in item ? failed(item.$error) : `${item.code} ${item.detail}`
}

const token = await visitor()
const text = async (path: string, sku: string) => (await post(path, { sku }, token)).text()

await runNarrowing(
  async (sku) => refused(await (await post('/Shop/buy', { sku }, token)).json()),
  async () => failed(await (await post('/Feed/words', { sku: 'gold', after: 0 }, token)).json()),
  {
    words: async () => payloads(await text('/Feed/words', 'gold')).map(ofWords),
    lines: async () => payloads(await text('/Feed/lines', 'gone')).map(ofLines),
    notes: async () => payloads(await text('/Feed/notes', 'new')).map(ofNotes),
  },
)
