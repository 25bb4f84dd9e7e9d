/** What whoever is logged in does with their own data: their picture, a copy of everything, and the end of their account. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { deleteAvatar, getAvatar, putAvatar } from '../avatars/avatars.ts'
import { SIZES, storeOf } from '../avatars/store.ts'
import { FRESH } from '../http/admit.ts'
import { requireOwnPage } from '../http/cookies.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { cancelErasure, type Erasure, requestErasure } from '../personal/erasing.ts'
import { exportMe, MyExportQuery } from '../personal/export.ts'
import { Frame, LogOut, profileWith, unlessGone } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Field, Moment, NO_FAULTS, Note, Submit, Summary } from './layout.tsx'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const DATA = '/account/data'
const PICTURE = '/account/picture'
const REMOVE = '/account/picture/remove'
const ERASE = '/account/erase'
const KEEP = '/account/erase/cancel'

type Open = z.infer<typeof Erasure> | null

async function dataPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200): Promise<Response> {
  const { words } = visit
  const { profile, terms, rest } = await profileWith(visit, sql`select access.erasure() as answer`)
  const open = rowsOf<{ answer: Open }>(rest[0])[0]?.answer ?? null
  const { data } = words
  // The address changes with the picture: a page that was just sent shows the new one.
  const picture = `${PICTURE}?size=64&v=${profile.avatar?.slice(0, 8) ?? ''}`
  return show(
    visit,
    { title: data.title, look: terms.look, wide: true, faults, status, aside: <LogOut visit={visit} /> },
    <Frame visit={visit} at={DATA}>
      <Note said={status === 200 ? saidIn(visit) : null} />
      <Summary words={words} faults={faults} />
      <section class="card">
        <div class="row">
          <h1>{data.picture}</h1>
          <img class="avatar" src={picture} alt={profile.avatar ? data.picture_alt : data.initials_alt} width="64" height="64" />
        </div>
        <form method="post" action={PICTURE} enctype="multipart/form-data">
          <FormToken visit={visit} action={PICTURE} />
          <Field
            name="picture"
            label={data.choose}
            faults={faults}
            hint={data.picture_hint}
            type="file"
            accept="image/png,image/jpeg,image/webp"
            required
          />
          <Submit words={words}>{data.upload}</Submit>
        </form>
        {profile.avatar && (
          <form method="post" action={REMOVE}>
            <FormToken visit={visit} action={REMOVE} />
            <Submit words={words} class="quiet">
              {data.remove}
            </Submit>
          </form>
        )}
      </section>
      <section class="card">
        <h2>{data.export}</h2>
        <p class="lead">{data.export_lead}</p>
        <p class="links">
          <a class="button quiet" href={`${DATA}/export?format=json`} download>
            {data.as_json}
          </a>
          <a class="button quiet" href={`${DATA}/export?format=zip`} download>
            {data.as_zip}
          </a>
        </p>
      </section>
      <Erasing visit={visit} open={open} />
    </Frame>,
  )
}

const Erasing = ({ visit, open }: { visit: Visit; open: Open }) => {
  const { words, language } = visit
  const { data } = words
  const is_own = open?.requested_by === null
  return (
    <section class="card">
      <h2>{data.erase}</h2>
      {open ? (
        <p class="lead">
          {data.erased_at} <Moment at={open.erase_at} language={language.tag} />. {is_own ? data.is_open : data.by_admin}
        </p>
      ) : (
        <p class="lead">{data.erase_lead}</p>
      )}
      {open === null && (
        <form method="post" action={ERASE}>
          <FormToken visit={visit} action={ERASE} />
          <label class="check">
            <input type="checkbox" name="sure" value="yes" required />
            <span>{data.sure}</span>
          </label>
          <Submit words={words} class="quiet danger">
            {data.erase}
          </Submit>
        </form>
      )}
      {is_own && (
        <form method="post" action={KEEP}>
          <FormToken visit={visit} action={KEEP} />
          <Submit words={words}>{data.keep}</Submit>
        </form>
      )}
    </section>
  )
}

/** The picture of whoever this page acts for: a browser that is logged in to several accounts sends the cookies of all of them. */
async function picture({ c, ctx }: Visit): Promise<Response> {
  const size = z.enum(SIZES).safeParse(c.req.query('size') ?? '256')
  if (!size.success) throw new Problem('not_found')
  const { content, content_type, etag } = await getAvatar(ctx, storeOf(c.env), null, size.data)
  const headers = { 'Content-Type': content_type, ETag: `"${etag}"`, 'Cache-Control': 'private, no-cache, no-transform' }
  return new Response(content, { headers: { ...headers, Vary: 'Cookie' } })
}

/** The fields of a form with a file; a file that is none counts as left out. */
async function filedIn({ c }: Visit): Promise<{ form: string; file: File | null }> {
  const sent = await c.req.raw.formData().catch(() => new FormData())
  const [form, file] = [sent.get('form'), sent.get('picture')]
  return { form: typeof form === 'string' ? form : '', file: file instanceof File && file.size > 0 ? file : null }
}

const upload = async (visit: Visit) => {
  const { form, file } = await filedIn(visit)
  return handle(visit, {
    action: PICTURE,
    fields: { form, ...(file && { picture: 'chosen' }) },
    schema: z.object({ picture: z.literal('chosen') }).strict(),
    done: async () => {
      const bytes = new Uint8Array((await file?.arrayBuffer()) ?? new ArrayBuffer())
      // A browser names the type after the name of the file: what counts is what is in it.
      await putAvatar(visit.ctx, storeOf(visit.c.env), null, bytes, null).catch(atPicture)
      return goTo(visit, `${DATA}?said=picture_set`)
    },
    again: (faults, status) => dataPage(visit, faults, status),
  })
}

/** Tells what is wrong with a picture at its field. */
function atPicture(error: unknown): never {
  if (!(error instanceof Problem)) throw error
  const { code, errors } = error
  if (code !== 'unsupported_media_type' && !(code === 'invalid_request' && errors)) throw error
  const details = errors?.map(({ detail }) => detail) ?? ['is no PNG, JPEG or WebP image']
  const told = details.map((detail) => ({ pointer: '#/picture', detail }))
  throw new Problem('invalid_request', undefined, { errors: told, cause: error })
}

const Nothing = z.object({}).strict()

const remove = (visit: Visit) =>
  handle(visit, {
    action: REMOVE,
    schema: Nothing,
    done: async () => {
      await deleteAvatar(visit.ctx, storeOf(visit.c.env), null).catch(unlessGone)
      return goTo(visit, `${DATA}?said=picture_removed`)
    },
    again: (faults, status) => dataPage(visit, faults, status),
  })

/** A link elsewhere must not use up what its visitor may export. */
async function download(visit: Visit): Promise<Response> {
  const { c, ctx } = visit
  requireOwnPage(c.req.raw, ctx.realm.url)
  const { format } = MyExportQuery.catch({ format: 'json' }).parse({ format: c.req.query('format') })
  const { body, headers } = await exportMe(ctx, format)
  return new Response(body, { headers: { ...headers, Vary: 'Cookie' } })
}

const erase = (visit: Visit) =>
  handle(visit, {
    action: ERASE,
    schema: z.object({ sure: z.literal('yes') }).strict(),
    done: async () => {
      await requestErasure(visit.ctx, {}).catch(inItsWords)
      return goTo(visit, `${DATA}?said=erasure_asked`)
    },
    again: (faults, status) => dataPage(visit, faults, status),
  })

/** What a conflict means is told in the words of the API, which say what to do. */
function inItsWords(error: unknown): never {
  if (!(error instanceof Problem) || error.code !== 'illegal_state') throw error
  throw new Problem('in_use', error.message, { cause: error })
}

const keep = (visit: Visit) =>
  handle(visit, {
    action: KEEP,
    schema: Nothing,
    done: async () => {
      await cancelErasure(visit.ctx).catch(unlessGone)
      return goTo(visit, `${DATA}?said=erasure_cancelled`)
    },
    again: (faults, status) => dataPage(visit, faults, status),
  })

const FORM = { method: 'POST', session: true, trips: 1 } as const

export const dataDoors: Door[] = [
  { method: 'GET', path: DATA, session: true, trips: 1, answer: (visit) => dataPage(visit) },
  { method: 'GET', path: PICTURE, session: true, trips: 1, answer: picture },
  { ...FORM, path: PICTURE, has_file: true, answer: upload },
  { ...FORM, path: REMOVE, answer: remove },
  { method: 'GET', path: `${DATA}/export`, session: true, trips: 1, answer: download },
  { ...FORM, path: ERASE, fresh: FRESH, answer: erase },
  { ...FORM, path: KEEP, answer: keep },
]
