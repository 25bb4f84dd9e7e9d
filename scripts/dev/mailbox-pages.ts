/** One mail or text to a phone, as the mailbox keeps and returns it. `id` is the same for each attempt to send it. */
export type Mail = {
  no: number
  at: string
  id: string
  channel: 'email' | 'sms'
  from: string
  to: string
  subject: string
  text: string
  html: string
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')

const page = (
  title: string,
  body: string,
) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escaped(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:24px auto;max-width:960px;padding:0 16px;color:#222}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid #ddd}pre{white-space:pre-wrap;background:#f5f5f5;padding:16px}
iframe{width:100%;height:480px;border:1px solid #ddd}</style></head><body>${body}</body></html>`

/** The list, newest first. */
export const mailsPage = (mails: Mail[], to: string) =>
  page(
    'Mailbox',
    `<h1>Mailbox</h1><form><input name="to" value="${escaped(to)}" placeholder="to" aria-label="to"> <button>Show</button></form>
<table><tr><th>At</th><th>To</th><th>Subject</th></tr>${mails
      .map(
        ({ no, at, to, subject }) =>
          `<tr><td>${escaped(at.slice(0, 19).replace('T', ' '))}</td><td>${escaped(to)}</td><td><a href="/mails/${no}">${escaped(subject)}</a></td></tr>`,
      )
      .join('')}</table>${mails.length ? '' : '<p>Nothing yet. Mails that are sent while this runs are shown here.</p>'}`,
  )

/** One mail. Its HTML is in a frame without scripts, forms or an origin. */
export const mailPage = ({ at, from, to, channel, subject, text, html }: Mail) =>
  page(
    subject,
    `<p><a href="/">Mailbox</a></p><h1>${escaped(subject)}</h1><p>From ${escaped(from)} to ${escaped(to)}, ${escaped(at)}</p>
${channel === 'email' ? `<iframe sandbox title="The mail" srcdoc="${escaped(html)}"></iframe>` : ''}<pre>${escaped(text)}</pre>`,
  )
