/** Threat: a file that is called an image, and an image of a few bytes that fills the memory of whoever shows it. */
import { describe, expect, it } from 'vitest'
import { imageOf } from '../../src/settings/image.ts'
import { jpegOf, PNG, pngOf, SVG, WEBP_EXTENDED, WEBP_LOSSLESS, WEBP_LOSSY, webpOf } from './images.ts'

const text = (written: string) => new TextEncoder().encode(written)

describe('an image is what its bytes say:', () => {
  it.each<[string, Uint8Array, object]>([
    ['a PNG', PNG, { content_type: 'image/png', width: 1, height: 1 }],
    ['a PNG that is large', pngOf(1024, 70_000), { content_type: 'image/png', width: 1024, height: 70_000 }],
    ['a lossy WebP', WEBP_LOSSY, { content_type: 'image/webp', width: 1, height: 1 }],
    ['a lossless WebP', WEBP_LOSSLESS, { content_type: 'image/webp', width: 1, height: 1 }],
    ['an extended WebP', WEBP_EXTENDED, { content_type: 'image/webp', width: 1, height: 1 }],
    ['a WebP that is large', webpOf(16_384, 513), { content_type: 'image/webp', width: 16_384, height: 513 }],
    ['a JPEG', jpegOf(640, 480), { content_type: 'image/jpeg', width: 640, height: 480 }],
    ['a progressive JPEG', jpegOf(3, 65_535, 0xc2), { content_type: 'image/jpeg', width: 3, height: 65_535 }],
  ])('%s', (_, bytes, image) => expect(imageOf(bytes)).toEqual(image))
})

describe('no image is', () => {
  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['an SVG', SVG],
    ['a page', text('<!doctype html><script>alert(1)</script>')],
    ['a GIF', text('GIF89a\u0001\u0000\u0001\u0000')],
    ['a PNG without width', pngOf(0, 1)],
    ['a PNG without height', pngOf(1, 0)],
    ['a PNG whose first chunk is another', Uint8Array.from(pngOf(1, 1), (byte, i) => (i === 12 ? 0x58 : byte))],
    ['a JPEG without height', jpegOf(1, 0)],
    ['a JPEG that ends before its frame', jpegOf(1, 1).subarray(0, 30)],
    ['a JPEG whose frame is another', jpegOf(1, 1, 0xcc)],
    ['a sound in RIFF', text('RIFF\u0024\u0000\u0000\u0000WAVEfmt ')],
    ['a WebP of an unknown kind', text('RIFF\u0024\u0000\u0000\u0000WEBPVP9 0000000000000000')],
    ['a lossy WebP without its start code', Uint8Array.from(WEBP_LOSSY, (byte, i) => (i === 24 ? 0 : byte))],
    ['a lossless WebP without its signature', Uint8Array.from(WEBP_LOSSLESS, (byte, i) => (i === 20 ? 0 : byte))],
  ])('%s', (_, bytes) => expect(imageOf(bytes)).toBeNull())

  it.each<[string, Uint8Array, number]>([
    ['a PNG', PNG, 24],
    ['a lossy WebP', WEBP_LOSSY, 30],
    ['a lossless WebP', WEBP_LOSSLESS, 25],
    ['an extended WebP', WEBP_EXTENDED, 30],
    ['a JPEG', jpegOf(1, 1), jpegOf(1, 1).length - 6],
  ])('%s that is cut off anywhere in its header', (_, bytes, header) => {
    for (let length = 0; length < header; length++) expect(imageOf(bytes.subarray(0, length)), String(length)).toBeNull()
    expect(imageOf(bytes.subarray(0, header))).not.toBeNull()
  })
})
