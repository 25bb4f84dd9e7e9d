import { assetText } from '../assets/assets.ts'
import { learnSpanish, speaksSpanish } from './language.ts'

/** Has the isolate speak Spanish: one subrequest, once. When the words cannot be read, answers are in English, and the log says so. */
export async function readSpanish(): Promise<void> {
  if (speaksSpanish()) return
  await assetText('words/spanish.json', null)
    .then((text) => learnSpanish(JSON.parse(text)))
    // The log has what could not be read (assets.ts).
    .catch(() => undefined)
}
