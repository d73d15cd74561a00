import { createApiClient, type Endpoints, type Schemas } from './generated/api'
import { runNarrowing, typed, url, visitor, type Exactly, type Left } from './steps'

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

function failed(error: Schemas.FeedWordsFailure409): string {
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

await runNarrowing(
  async (sku) => {
    const answer = await api.post('/Shop/buy', { header: {}, body: { sku }, withResponse: true })
    return answer.ok ? 'bought' : refused(answer.data)
  },
  async () => {
    const answer = await api.post('/Feed/words', { header: {}, body: { sku: 'gold', after: 0 }, withResponse: true })
    return answer.status === 409 ? failed(answer.data) : 'streamed'
  },
)
