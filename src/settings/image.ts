/**
 * What a file is, by its first bytes and by nothing that is said of it. Threat: a script that is called an image (SVG is one), and an
 * image of a few kilobytes that fills the memory of whoever shows it. So three formats are known, none of which runs anything, and
 * width and height are read from the header.
 */
export const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/webp'] as const

export type Image = { content_type: (typeof IMAGE_TYPES)[number]; width: number; height: number }

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

/** The type and the size in pixels of an image; null: it is none of these types, or its header is broken. */
export function imageOf(bytes: Uint8Array): Image | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    const image = png(bytes, view) ?? webp(bytes, view) ?? jpeg(view)
    return image && image.width > 0 && image.height > 0 ? image : null
  } catch (error) {
    // The header says that there is more than there is.
    if (error instanceof RangeError) return null
    throw error
  }
}

const ascii = (bytes: Uint8Array, at: number, length = 4) => String.fromCharCode(...bytes.subarray(at, at + length))

function png(bytes: Uint8Array, view: DataView): Image | null {
  if (!PNG.every((byte, i) => bytes[i] === byte) || ascii(bytes, 12) !== 'IHDR') return null
  return { content_type: 'image/png', width: view.getUint32(16), height: view.getUint32(20) }
}

/** https://developers.google.com/speed/webp/docs/riff_container; the bit streams are RFC 6386 and RFC 9649. */
function webp(bytes: Uint8Array, view: DataView): Image | null {
  if (ascii(bytes, 0) !== 'RIFF' || ascii(bytes, 8) !== 'WEBP') return null
  const sized = (width: number, height: number): Image => ({ content_type: 'image/webp', width, height })
  const three = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16)
  const kind = ascii(bytes, 12)
  if (kind === 'VP8X') return sized(three(24) + 1, three(27) + 1)
  if (kind === 'VP8L' && view.getUint8(20) === 0x2f) {
    const packed = view.getUint32(21, true)
    return sized((packed & 0x3fff) + 1, ((packed >> 14) & 0x3fff) + 1)
  }
  if (kind === 'VP8 ' && three(23) === 0x2a019d)
    return sized(view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff)
  return null
}

/** Walks the segments of a JPEG to the one that begins a frame (ITU-T T.81, annex B). */
function jpeg(view: DataView): Image | null {
  if (view.getUint16(0) !== 0xffd8) return null
  for (let at = 2; view.getUint8(at) === 0xff; ) {
    const marker = view.getUint8(at + 1)
    // Fill bytes may come before a marker.
    if (marker === 0xff) at++
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
      return { content_type: 'image/jpeg', width: view.getUint16(at + 7), height: view.getUint16(at + 5) }
    // The image begins or ends, and no frame was seen.
    else if (marker === 0xda || marker === 0xd9) return null
    else at += 2 + view.getUint16(at + 2)
  }
  return null
}
