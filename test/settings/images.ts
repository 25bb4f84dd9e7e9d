/** Images for tests. Those that are whole are one pixel; the others are headers alone, which is all that is read of them. */
const decoded = (base64: string) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))

export const PNG = decoded('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')
export const WEBP_LOSSY = decoded('UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA')
export const WEBP_LOSSLESS = decoded('UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==')
export const WEBP_EXTENDED = decoded(
  'UklGRlgAAABXRUJQVlA4WAoAAAAQAAAAAAAAAAAAQUxQSAwAAAARBxAR/Q9ERP8DAABWUDggGAAAABQBAJ0BKgEAAQAAAP4AAA3AAP7mtQAAAA==',
)
export const SVG = new Uint8Array(
  new TextEncoder().encode('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
)

/** A PNG that says it is so large, with `more` bytes after its header. */
export function pngOf(width: number, height: number, more = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(33 + more)
  bytes.set(PNG.subarray(0, 33))
  const view = new DataView(bytes.buffer)
  view.setUint32(16, width)
  view.setUint32(20, height)
  return bytes
}

/** A JPEG that says it is so large: with a thumbnail before the frame, fill bytes, and a frame of kind `marker`. */
export function jpegOf(width: number, height: number, marker = 0xc0): Uint8Array<ArrayBuffer> {
  const app = [0xff, 0xe0, 0x00, 0x10, ...[0x4a, 0x46, 0x49, 0x46, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0]]
  // In it the marker of a frame, which is not one.
  const thumbnail = [0xff, 0xe1, 0x00, 0x0a, 0xff, 0xc0, 0, 17, 8, 0, 1, 0]
  const tables = [0xff, 0xff, 0xff, 0xc4, 0x00, 0x04, 0, 0]
  const frame = [0xff, marker, 0x00, 0x0b, 8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0]
  return Uint8Array.from([0xff, 0xd8, ...app, ...thumbnail, ...tables, ...frame, 0xff, 0xd9])
}

/** A lossless WebP that says it is so large. */
export function webpOf(width: number, height: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(WEBP_LOSSLESS)
  new DataView(bytes.buffer).setUint32(21, (width - 1) | ((height - 1) << 14), true)
  return bytes
}
