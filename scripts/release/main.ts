import { chmod } from 'node:fs/promises'
import { relative } from 'node:path'
import { Command } from 'commander'
import { run } from '../freehold/run.ts'
import { temporaryFolder } from '../local-neon/temporary-folder.ts'
import { ROOT } from './checkout.ts'
import { keepData } from './data.ts'
import { keepWorker } from './worker.ts'

const HELP = `
Tests of a release meet what earlier ones left. The Worker of the release before runs on this schema, as it does during a deploy and
after a rollback; and a data folder of an older commit is upgraded by npm start. Both are kept in test/releases/kept, because a checkout
may have no history. This needs git, tar, and the npm registry where the packages of that commit are others.

  npm run release:keep                     after a release: keeps the Worker of the last commit
  npm run release:keep -- v1.2.0           the Worker of a tag
  npm run release:keep -- --data 2cf156c   a data folder of that commit, which its own npm start makes

Exit status: 0 when it is kept, 1 when it is not, 2 for wrong usage.`

const started = Date.now()
const say = (line: string) => process.stderr.write(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}\n`)

const program = new Command('npm run release:keep --')
  .description('Keeps the Worker of a release, or a data folder of one, for the tests of later ones')
  .argument('[ref]', 'a commit of the git repository: a tag, a branch or a hash', 'HEAD')
  .option('--data', 'keep a data folder instead of the Worker')
  .addHelpText('after', HELP)
  .exitOverride()
  .action(async (ref: string, { data }: { data?: true }) => {
    const folder = await temporaryFolder('freehold-release')
    try {
      // Root's Postgres runs as another user, who must find its program in here.
      await chmod(folder.path, 0o711)
      const { paths, bytes } = await (data ? keepData : keepWorker)(ref, folder.path, say)
      for (const path of paths) process.stdout.write(`${relative(ROOT, path)}\n`)
      say(`${Math.ceil(bytes / 1024)} KiB.`)
    } finally {
      await folder.remove()
    }
  })

await run(program, ({ message }) => void process.stderr.write(`${message}\n`))
