/** The part of Cloudflare's e-mail binding that is used. */
export type EmailBinding = {
  send(message: {
    from: string | { email: string; name: string }
    to: string
    subject: string
    text: string
    html: string
    headers: Record<string, string>
  }): Promise<unknown>
}
