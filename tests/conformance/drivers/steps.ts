// What every driver shares: each ability is one step; a step that throws is an ability that the tool lacks.
import { deepStrictEqual, ok, strictEqual } from 'node:assert'

// Plain functions: the assertions of `node:assert` would narrow the types that are to be checked.
export function equal(actual: unknown, expected: unknown): void {
  deepStrictEqual(actual, expected)
}
export function same(actual: unknown, expected: unknown): void {
  strictEqual(actual, expected)
}
export function truthy(value: unknown): void {
  ok(value)
}

export const url: string = process.argv[2] ?? 'http://localhost:8000'

// A value of every type, as it stands in JSON.
export const everything = {
  at: '2026-02-28T23:59:59.999000Z',
  day: '2026-02-28',
  lasting: 'P1DT2H',
  price: '0.10',
  id: '12345678-1234-5678-1234-567812345678',
  colour: 'green' as const,
  mode: 'fast' as const,
  tags: ['only'],
  pair: [1, 'two'] as [number, string],
  blob: '+/8=',
  pet: { kind: 'dog' as const, name: 'Rex' },
  tree: { value: 1, children: [{ value: 2, children: [] }] },
  renamed: { onTheWire: 'a name' },
  big: '9007199254740993',
  counts: { a: 1 },
  ratio: 0.5,
  note: null,
}

// Code that gets a value only if the two types are assignable: `tsc` is what runs this check.
export function typed<T>(value: T): T {
  return value
}

// Types that only the compiler sees. `any` and `never` pass for anything elsewhere: these tell them apart.
export type Exactly<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Whether anything is left of a union after all that has been ruled out. */
export type Left<T> = [T] extends [never] ? false : true

/** The token of a new visitor. */
export async function visitor(): Promise<string> {
  return (await (await fetch(`${url}/auth/visitor`, { method: 'POST' })).json()).access_token
}

/** A call, for tools that make types and no client. */
export async function post(path: string, body: object, token: string): Promise<Response> {
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }
  return await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })
}

/** The payloads in the text of an event stream. */
export function payloads(text: string): any[] {
  const lines = text.split('\n').filter((line) => line.startsWith('data: '))
  return lines.map((line) => JSON.parse(line.slice(6)))
}

/** What each driver of narrowing/ sees: a call refused in four ways, a stream that never began, and three that failed. */
export function runNarrowing(
  buy: (sku: string) => Promise<string>,
  early: () => Promise<string>,
  streams?: { words: () => Promise<string[]>; lines: () => Promise<string[]>; notes: () => Promise<string[]> },
): Promise<void> {
  const ofStreams = streams && {
    texts: async () => equal(await streams.words(), ['word 0', 'too_dear 7']),
    models: async () => equal(await streams.lines(), ['gone', 'sold_out gone']),
    members: async () => equal(await streams.notes(), ['new an item', 'other']),
  }
  return run({
    one: async () => same(await buy('coffee'), 'unknown_article coffee'),
    several: async () => equal([await buy('gone'), await buy('gold')], ['sold_out gone', 'too_dear 7']),
    other: async () => same(await buy('new'), 'other'),
    early: async () => same(await early(), 'too_dear 7'),
    ...ofStreams,
  })
}

/** A `fetch` whose first answer breaks off after some characters; `seen` are the Last-Event-IDs that were sent. */
export function breaking(after: number, seen: (string | null)[]): typeof fetch {
  let first = true
  return async (input, init) => {
    const request = new Request(input, init)
    seen.push(request.headers.get('Last-Event-ID'))
    const answer = await fetch(request)
    if (!first || !answer.body) return answer
    first = false
    const reader = answer.body.getReader()
    let left = after
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = await reader.read()
        if (done) return controller.close()
        left -= value.length
        controller.enqueue(value)
        if (left <= 0) {
          await reader.cancel()
          controller.error(new TypeError('the connection broke'))
        }
      },
    })
    return new Response(body, { status: answer.status, headers: answer.headers })
  }
}

export async function run(steps: Record<string, () => Promise<void>>): Promise<void> {
  const result: Record<string, string | null> = {}
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step()
      result[name] = null
    } catch (error) {
      result[name] = error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify(error)
    }
  }
  process.stdout.write(JSON.stringify(result))
}
