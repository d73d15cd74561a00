import createClient from 'openapi-fetch'
import type { components, paths } from './generated/schema'
import { payloads, post, runNarrowing, typed, url, visitor, type Exactly, type Left } from './steps'

type Schemas = components['schemas']
type Streams = '/Feed/words' | '/Feed/lines' | '/Feed/notes'
type Item<Path extends Streams> = paths[Path]['post']['responses'][200]['content']['text/event-stream']

const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${await visitor()}` } })
const buy = (sku: string) => client.POST('/Shop/buy', { body: { sku } })

function refused(error: NonNullable<Awaited<ReturnType<typeof buy>>['error']>): string {
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

function failed(error: Schemas['FeedWordsStreamFailure']['$error'] | Schemas['FeedWordsFailure409'] | Schemas['AnyError']): string {
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

function ofWords(item: Item<'/Feed/words'>): string {
  if (typeof item === 'string') return item
  return failed(item.$error)
}
function ofLines(item: Item<'/Feed/lines'>): string {
  return '$error' in item ? failed(item.$error) : item.sku
}
function ofNotes(item: Item<'/Feed/notes'>): string {
  return '$error' in item ? failed(item.$error) : `${item.code} ${item.detail}`
}

await runNarrowing(
  async (sku) => {
    const { error } = await buy(sku)
    return error ? refused(error) : 'bought'
  },
  async () => {
    const { error } = await client.POST('/Feed/words', { body: { sku: 'gold', after: 0 }, parseAs: 'text' })
    return error ? failed(error) : 'streamed'
  },
  {
    words: async () => payloads((await client.POST('/Feed/words', { body: { sku: 'gold' }, parseAs: 'text' })).data ?? '').map(ofWords),
    lines: async () => payloads((await client.POST('/Feed/lines', { body: { sku: 'gone' }, parseAs: 'text' })).data ?? '').map(ofLines),
    notes: async () => payloads((await client.POST('/Feed/notes', { body: { sku: 'new' }, parseAs: 'text' })).data ?? '').map(ofNotes),
  },
)
