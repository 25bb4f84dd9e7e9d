/**
 * What is taken for a picture before anybody decodes it. Threat: a file of a few kilobytes that unpacks to gigabytes, a script that is
 * called an image, an animation, half a file. So the format is known by its bytes (settings/image.ts), the size in pixels is read from
 * the header, and a file that does not come to its own end is none.
 */
import { invalid, Problem } from '../kernel/problem.ts'
import { IMAGE_TYPES, imageOf } from '../settings/image.ts'

export const AVATAR_KIB = 2048
const MOST_ASIDE = 8192
const MOST_PIXELS = 40_000_000

/**
 * Fails with unsupported_media_type (the bytes are no PNG, JPEG or WebP, or another of them than was said), invalid_request (too many
 * pixels, an animation, cut off). `said` null: nothing was.
 */
export function requirePicture(bytes: Uint8Array, said: string | null): void {
  const image = imageOf(bytes)
  if (!image)
    throw new Problem('unsupported_media_type', `The bytes are no image of these types: send ${IMAGE_TYPES.join(', ')}.`)
  const { content_type, width, height } = image
  if (said !== null && content_type !== said)
    throw new Problem('unsupported_media_type', `The bytes are ${content_type}, and not ${said}.`)
  if (Math.max(width, height) > MOST_ASIDE)
    throw invalid('', `must be at most ${MOST_ASIDE} pixels wide and high: it is ${width} by ${height}`)
  if (width * height > MOST_PIXELS) throw invalid('', `must have at most 40 megapixels: it is ${width} by ${height}`)
  const { is_whole, is_animated } = READ[content_type](bytes)
  if (is_animated) throw invalid('', 'must not be animated')
  if (!is_whole) throw brokenPicture()
}

/** The refusal of what is no whole image; `cause` is what its decoder said. */
export const brokenPicture = () => invalid('', 'is cut off or broken')

type Read = { is_whole: boolean; is_animated: boolean }
const READ: Record<(typeof IMAGE_TYPES)[number], (bytes: Uint8Array) => Read> = {
  'image/png': png,
  'image/jpeg': jpeg,
  'image/webp': webp,
}

const name = (bytes: Uint8Array, at: number) => String.fromCharCode(...bytes.subarray(at, at + 4))

/** Walks the chunks to the last; acTL is that of an animated PNG (https://www.w3.org/TR/png-3/). */
function png(bytes: Uint8Array): Read {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let is_animated = false
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const chunk = name(bytes, at + 4)
    if (chunk === 'acTL') is_animated = true
    if (chunk === 'IEND') return { is_whole: true, is_animated }
  }
  return { is_whole: false, is_animated }
}

/** A JPEG ends with a marker; cameras write more after it. */
function jpeg(bytes: Uint8Array): Read {
  for (let at = bytes.length - 2; at > 2; at--)
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return { is_whole: true, is_animated: false }
  return { is_whole: false, is_animated: false }
}

/** The header says how long a WebP is; the extended one, whether it is an animation. */
function webp(bytes: Uint8Array): Read {
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(4, true)
  const is_animated = name(bytes, 12) === 'VP8X' && ((bytes[20] ?? 0) & 2) !== 0
  return { is_whole: bytes.length >= length + 8, is_animated }
}
