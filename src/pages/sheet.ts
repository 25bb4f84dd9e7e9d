/** The style sheet of the pages: its tokens are the custom properties at the top, and the rules (style.ts) are made of them. */
import { type Colours, schemesOf } from '../settings/contrast.ts'

const scheme = ({ accent, text }: Colours) => `--accent:${accent};--on-accent:${text};`

/** The sheet with an accent colour, six hexadecimal digits; the contrast of either scheme is kept whatever it is. `rules`: those of style.ts. */
export function styleOf(rules: string, hex?: string): string {
  const { light, dark } = schemesOf(hex === undefined ? null : `#${hex}`)
  return `:root{color-scheme:light dark;
--page:#f4f5f7;--card:#ffffff;--ink:#16191d;--soft:#59616b;--line:#e3e6ea;--edge:#8b939e;--field:#ffffff;
--bad:#b3261e;--bad-back:#fdf1f0;--good:#1a6b3c;--good-back:#eef7f1;
--shadow:0 1px 2px rgb(16 24 40/.05),0 12px 32px -12px rgb(16 24 40/.14);
--radius:16px;--round:10px;--gap:1.25rem;--high:2.875rem;
--font:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
${scheme(light)}}
@media (prefers-color-scheme:dark){:root{
--page:#0e1116;--card:#171b21;--ink:#eceff3;--soft:#a2abb6;--line:#2a3038;--edge:#6d7783;--field:#11151a;
--bad:#ff9c93;--bad-back:#2d1b1b;--good:#7fd6a2;--good-back:#15261d;
--shadow:0 1px 2px rgb(0 0 0/.4),0 12px 32px -12px rgb(0 0 0/.6);
${scheme(dark)}}}
${rules}`
}
