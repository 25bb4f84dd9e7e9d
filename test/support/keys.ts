/** The key rings of a stack that a test starts. */
export const KEYS = {
  ENCRYPTION_KEYS: `k1:${'Zm9vYmFy'.repeat(5)}Zm8`,
  OWNER_KEYS: `o1:${'YmFyZm9v'.repeat(5)}YmE`,
}
