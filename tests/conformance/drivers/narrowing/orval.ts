import * as api from './generated/api'
import { payloads, runNarrowing, typed, url, visitor, type Exactly, type Left } from './steps'

type Item<Call extends (...given: any) => Promise<{ status: number; data: unknown }>> = Extract<
  Awaited<ReturnType<Call>>,
  { status: 200 }
>['data']

function refused(error: Exclude<Awaited<ReturnType<typeof api.shopBuy>>, { status: 200 }>['data']): string {
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

function ofWords(item: Item<typeof api.feedWords>): string {
  if (typeof item === 'string') return item
  return failed(item.$error)
}
function ofLines(item: Item<typeof api.feedLines>): string {
  return '$error' in item ? failed(item.$error) : item.sku
}
function ofNotes(item: Item<typeof api.feedNotes>): string {
  return '$error' in item ? failed(item.$error) : `${item.code} ${item.detail}`
}

// Its functions call `fetch` with the paths of the document.
const plain = globalThis.fetch
const token = await visitor()
globalThis.fetch = (input, init) => {
  const headers = new Headers(init?.headers)
  headers.set('Authorization', `Bearer ${token}`)
  return plain(new URL(String(input), url), { ...init, headers })
}

await runNarrowing(
  async (sku) => {
    const answer = await api.shopBuy({ sku })
    return answer.status === 200 ? 'bought' : refused(answer.data)
  },
  async () => {
    const answer = await api.feedWords({ sku: 'gold', after: 0 })
    return answer.status === 409 ? failed(answer.data) : 'streamed'
  },
  {
    words: async () => payloads(String((await api.feedWords({ sku: 'gold' })).data)).map(ofWords),
    lines: async () => payloads(String((await api.feedLines({ sku: 'gone' })).data)).map(ofLines),
    notes: async () => payloads(String((await api.feedNotes({ sku: 'new' })).data)).map(ofNotes),
  },
)
