import { parseArgs } from 'node:util'
import { startLocalNeon } from './start.ts'

const HELP = `Neon's management API and SQL over HTTP, on this machine, in front of a real Postgres.

  node scripts/local-neon/main.ts --data DIR [options]

  --data DIR           the data folder; created if it does not exist
  --port N             port of the HTTP server; default: 0, a free one
  --postgres-port N    port of Postgres; default: 0, a free one
  --operation-ms N     how long each operation takes; default: 20
  --verbose            show the log of Postgres
  --help               show this

When ready it prints one line of JSON: {"api_url","api_key","sql_url","postgres_url"}. Ctrl-C ends it; the data stays.
`

function readOptions() {
  const { values } = parseArgs({
    options: {
      data: { type: 'string' },
      port: { type: 'string', default: '0' },
      'postgres-port': { type: 'string', default: '0' },
      'operation-ms': { type: 'string', default: '20' },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const whole = (name: 'port' | 'postgres-port' | 'operation-ms') => {
    if (!/^\d{1,6}$/.test(values[name])) throw new Error(`--${name} needs a whole number`)
    return Number(values[name])
  }
  return {
    ...values,
    port: whole('port'),
    postgresPort: whole('postgres-port'),
    operationMs: whole('operation-ms'),
    log: (line: string) => void (values.verbose && process.stderr.write(`${line}\n`)),
  }
}

async function main() {
  const { data, help, ...options } = readOptions()
  if (help || data === undefined) {
    process.stdout.write(HELP)
    if (!help) process.exitCode = 2
    return
  }
  const starting = startLocalNeon({ dataDir: data, ...options })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void starting.then((neon) => neon.stop()).finally(() => process.exit()))
  }
  const { apiUrl, apiKey, sqlUrl, postgresUrl } = await starting
  process.stdout.write(`${JSON.stringify({ api_url: apiUrl, api_key: apiKey, sql_url: sqlUrl, postgres_url: postgresUrl })}\n`)
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
