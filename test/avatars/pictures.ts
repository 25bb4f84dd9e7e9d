/** Whole pictures, made here: those of test/settings/images.ts are of one pixel, or headers alone. */
import { env } from 'cloudflare:workers'
import { crc32 } from '../../src/personal/zip.ts'

type Bytes = Uint8Array<ArrayBuffer>
const bytesOf = async (stream: ReadableStream | null): Promise<Bytes> => new Uint8Array(await new Response(stream).arrayBuffer())
const joined = (...parts: Uint8Array[]): Bytes => {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
const big = (n: number) => Uint8Array.of(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)
const ascii = (text: string) => new TextEncoder().encode(text)

function chunk(name: string, data: Uint8Array): Bytes {
  const body = joined(ascii(name), data)
  return joined(big(data.length), body, big(crc32(body)))
}

type Wanted = { colour?: [number, number, number]; more?: Uint8Array[]; said?: { width: number; height: number } }

/** A PNG of one colour. `more`: chunks before its pixels; `said`: what its header says of its size. */
export async function pngPicture(width: number, height: number, { colour = [200, 30, 30], more = [], said }: Wanted = {}) {
  const row = joined(Uint8Array.of(0), ...Array.from({ length: width }, () => Uint8Array.from(colour)))
  const pixels = new Blob(Array.from({ length: height }, () => row)).stream()
  const packed = await bytesOf(pixels.pipeThrough(new CompressionStream('deflate')))
  const { width: w, height: h } = said ?? { width, height }
  const header = chunk('IHDR', joined(big(w), big(h), Uint8Array.of(8, 2, 0, 0, 0)))
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
  return joined(signature, header, ...more, chunk('IDAT', packed), chunk('IEND', new Uint8Array()))
}

/** What an animated PNG says of itself: two frames, for ever. */
export const ANIMATED = chunk('acTL', joined(big(2), big(0)))
export const textChunk = (text: string) => chunk('tEXt', joined(ascii('Comment'), Uint8Array.of(0), ascii(text)))

const as = async (format: 'image/jpeg' | 'image/webp', png: Bytes) => {
  const images = (env as unknown as { IMAGES: ImagesBinding }).IMAGES
  const made = await images.input(new Response(png).body as ReadableStream<Uint8Array>).output({ format })
  return new Uint8Array(await made.response().arrayBuffer())
}

/** A JPEG with a note of its camera (EXIF: an ImageDescription, and an address in GPS words). */
export async function jpegPicture(width: number, height: number, note = '') {
  const jpeg = await as('image/jpeg', await pngPicture(width, height))
  const text = joined(ascii(note), Uint8Array.of(0))
  // TIFF, big-endian: one entry of type ASCII.
  const tiff = joined(
    ascii('MM'),
    Uint8Array.of(0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x0e, 0, 2),
    big(text.length),
    big(26),
    big(0),
    text,
  )
  const body = joined(ascii('Exif'), Uint8Array.of(0, 0), tiff)
  const segment = joined(Uint8Array.of(0xff, 0xe1, (body.length + 2) >> 8, (body.length + 2) & 255), body)
  return note === '' ? jpeg : joined(jpeg.subarray(0, 2), segment, jpeg.subarray(2))
}

export const webpPicture = async (width: number, height: number) => as('image/webp', await pngPicture(width, height))

/** An extended WebP that says it is an animation. */
export function animatedWebp(): Bytes {
  const vp8x = joined(ascii('VP8X'), Uint8Array.of(10, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 9, 0, 0))
  return joined(ascii('RIFF'), Uint8Array.of(4 + vp8x.length, 0, 0, 0), ascii('WEBP'), vp8x)
}
