import { assetText } from '../assets/assets.ts'
import type { Texts } from './openapi.ts'

/** What each operation does (texts.ts), read from the assets. Fails with `asset_unavailable`. */
export const operationTexts = async (): Promise<Texts> => JSON.parse(await assetText('words/operations.json', null))
