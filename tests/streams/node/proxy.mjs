// What the development servers of front ends are: a proxy with `compression`. node proxy.mjs PORT TARGET
import compression from 'compression'
import http from 'node:http'

const [port, target] = process.argv.slice(2)
const compress = compression({ threshold: 0 })

http
  .createServer((request, response) =>
    compress(request, response, () => {
      const { method, headers } = request
      const upstream = http.request(target + request.url, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers)
        answer.pipe(response)
      })
      upstream.on('error', () => response.destroy())
      response.on('close', () => upstream.destroy())
      request.pipe(upstream)
    }),
  )
  .listen(Number(port), '127.0.0.1')
