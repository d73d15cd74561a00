import * as sdk from './generated'
import { client } from './generated/client.gen'
import { post, runNarrowing, typed, url, visitor, type Exactly, type Left } from './steps'

function refused(error: sdk.ShopBuyErrors[keyof sdk.ShopBuyErrors]): string {
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

function failed(error: sdk.FeedWordsStreamFailure['$error'] | sdk.FeedWordsErrors[keyof sdk.FeedWordsErrors]): string {
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

function ofWords(item: sdk.FeedWordsResponse): string {
  if (typeof item === 'string') return item
  return failed(item.$error)
}
function ofLines(item: sdk.FeedLinesResponse): string {
  return '$error' in item ? failed(item.$error) : item.sku
}
function ofNotes(item: sdk.FeedNotesResponse): string {
  return '$error' in item ? failed(item.$error) : `${item.code} ${item.detail}`
}

const token = await visitor()
client.setConfig({ baseUrl: url, auth: () => token })
const once = { sseMaxRetryAttempts: 1 }

async function all<T>(stream: AsyncIterable<T>, text: (item: T) => string): Promise<string[]> {
  const seen: string[] = []
  for await (const item of stream) seen.push(text(item))
  return seen
}

await runNarrowing(
  async (sku) => {
    const { error } = await sdk.shopBuy({ body: { sku } })
    return error ? refused(error) : 'bought'
  },
  async () => {
    // Its reader of event streams does not give the body of an error; a plain call of it does.
    const body: sdk.FeedWordsRequest = { sku: 'gold', after: 0 }
    const plain = { url: '/Feed/words', body, security: [{ scheme: 'bearer', type: 'http' } as const] }
    const { error } = await client.post<sdk.FeedWordsResponses, sdk.FeedWordsErrors>(plain)
    return error ? failed(error) : 'streamed'
  },
  {
    words: async () => all((await sdk.feedWords({ body: { sku: 'gold' }, ...once })).stream, ofWords),
    lines: async () => all((await sdk.feedLines({ body: { sku: 'gone' }, ...once })).stream, ofLines),
    notes: async () => all((await sdk.feedNotes({ body: { sku: 'new' }, ...once })).stream, ofNotes),
  },
)
