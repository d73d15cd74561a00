// Reads one stream and prints what came, a line of JSON each.
//   node read.mjs parser URL        with eventsource-parser, to the end of the response
//   node read.mjs eventsource URL   with eventsource, until it has given up reconnecting
import { EventSource } from 'eventsource'
import { createParser } from 'eventsource-parser'

const [, , kind, url] = process.argv
const print = (value) => process.stdout.write(JSON.stringify(value) + '\n')

if (kind === 'parser') {
  const parser = createParser({
    onEvent: ({ event, id, data }) => print({ event: event ?? 'message', id, data }),
    onError: (error) => print({ event: 'parse-error', data: String(error) }),
    onRetry: (retry) => print({ event: 'retry', data: String(retry) }),
  })
  const response = await fetch(url)
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) parser.feed(chunk)
  print({ event: 'end' })
} else {
  const source = new EventSource(url)
  let opened = 0
  setInterval(() => {}, 1000) // its timer for the reconnection does not keep Node running
  source.addEventListener('open', () => print({ event: 'open', data: String(++opened) }))
  for (const name of ['message', 'progress']) {
    source.addEventListener(name, ({ data, lastEventId }) => print({ event: name, id: lastEventId, data }))
  }
  source.addEventListener('error', (event) => {
    if (event.data !== undefined) print({ event: 'error', id: event.lastEventId, data: event.data })
    else if (source.readyState === EventSource.CLOSED) {
      print({ event: 'closed', data: String(event.code) })
      process.exit(0)
    } else print({ event: 'reconnecting' })
  })
}
