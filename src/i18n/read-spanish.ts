import { assetText } from '../assets/assets.ts'
import { learnSpanish, speaksSpanish } from './language.ts'

/** Has the isolate speak Spanish: one subrequest, once. When the words cannot be read, answers are in English, and the log says so. */
export async function readSpanish(): Promise<void> {
  if (speaksSpanish()) return
  const text = await assetText('words/spanish.json', null).catch(() => null)
  if (text !== null) learnSpanish(JSON.parse(text))
}
