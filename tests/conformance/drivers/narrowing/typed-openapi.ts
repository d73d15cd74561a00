import { createApiClient, type Endpoints, type Schemas } from './generated/api'
import { payloads, post, runNarrowing, typed, url, visitor, type Exactly, type Left } from './steps'

type Failed<Endpoint extends { responses: object }> = Exclude<Endpoint['responses'][keyof Endpoint['responses']], Schemas.Line>

function refused(error: Failed<Endpoints.post_Shop_buy>): string {
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

function failed(error: Schemas.FeedWordsStreamFailure['$error'] | Schemas.FeedWordsFailure409): string {
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

function ofWords(item: string | Schemas.FeedWordsStreamFailure): string {
  if (typeof item === 'string') return item
  return failed(item.$error)
}
function ofLines(item: Schemas.Line | Schemas.FeedLinesStreamFailure): string {
  return '$error' in item ? failed(item.$error) : item.sku
}
function ofNotes(item: Schemas.Note | Schemas.FeedNotesStreamFailure): string {
  return '$error' in item ? failed(item.$error) : `${item.code} ${item.detail}`
}

const token = await visitor()
const api = createApiClient(
  {
    fetch: ({ method, url, parameters }) =>
      fetch(url, {
        method,
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
        body: JSON.stringify(parameters?.body),
      }),
  },
  url,
)
const text = async (path: '/Feed/words' | '/Feed/lines' | '/Feed/notes', sku: string) =>
  (await post(path, { sku }, token)).text()

await runNarrowing(
  async (sku) => {
    const answer = await api.post('/Shop/buy', { header: {}, body: { sku }, withResponse: true })
    return answer.ok ? 'bought' : refused(answer.data)
  },
  async () => {
    const answer = await api.post('/Feed/words', { header: {}, body: { sku: 'gold', after: 0 }, withResponse: true })
    return answer.status === 409 ? failed(answer.data) : 'streamed'
  },
  async () => payloads(await text('/Feed/words', 'gold')).map(ofWords),
  async () => payloads(await text('/Feed/lines', 'gone')).map(ofLines),
  async () => payloads(await text('/Feed/notes', 'new')).map(ofNotes),
)
