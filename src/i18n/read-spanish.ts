import { assetText } from '../assets/assets.ts'
import { learnSpanish, speaksSpanish } from './language.ts'

/** How long a request waits for the words, which its answer can do without. */
const LIMIT_MS = 2_000
/** For how long an isolate does not ask for them again after it did not get them: every request would wait, and write a line of the log. */
const PAUSE_MS = 30_000

let failed_at = Number.NEGATIVE_INFINITY

/**
 * Has the isolate speak Spanish: one subrequest, once, of at most two seconds. When the words cannot be read, answers are in English for
 * half a minute, and the log says so once.
 */
export async function readSpanish(): Promise<void> {
  if (speaksSpanish() || Date.now() < failed_at + PAUSE_MS) return
  await assetText('words/spanish.json', null, LIMIT_MS)
    .then((text) => learnSpanish(JSON.parse(text)))
    .catch(() => {
      // The log has what could not be read (assets.ts).
      failed_at = Date.now()
    })
}
