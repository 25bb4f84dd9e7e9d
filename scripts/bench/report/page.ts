import { BUSY, type Finding, range, shown, shownMedian, type Verdict, verdictOf, WIDEST } from '../finding.ts'
import type { Circumstances } from './circumstances.ts'

const HOW = `\`npm run bench\` wrote this page. It bundles the Worker as a deployment does, beside bare routes that do only a part of what it does,
and runs it in workerd with nothing in front, against the embedded Postgres and the local Neon. What is compared is measured in turns
(A B B A ...) after a warm-up, so that a busy machine disturbs both alike; the median of the rounds is shown, with the range that holds
the middle half of them. CPU is that of the workerd process as the kernel counts it, or that of Postgres, which is all processes of its
cluster; a latency is wall time in the program that asks. Connections are kept open. Postgres does not wait for the disk, and what the
local Neon is asked to do takes no time of its own. The people of a large tenant are planted by SQL, with the triggers off.

Numbers of one machine say little about another; ratios say more. A goal that is missed fails nothing. Where the middle half is wider
than ${WIDEST * 100} % of the median, or of the goal where that is larger, the machine was too busy to tell, and no median is shown.

    npm run bench                       all of it, half an hour; writes this page, its chart and bench.json
    npm run bench -- --quick            less of everything, some three minutes, writes nothing
    npm run bench -- --only provisioning`

/** The measures that gave no finding: those that failed, and those that the run has not come to. */
export interface Missing {
  failed: string[]
  left: string[]
}

/** The report as a page of the documentation. */
export function page(findings: Finding[], about: Circumstances, { failed, left }: Missing = { failed: [], left: [] }): string {
  const promised = findings.filter(({ goal }) => goal !== null)
  const are = (verdict: Verdict) => promised.filter((finding) => verdictOf(finding) === verdict)
  const named = (label: string, some: Finding[]) =>
    some.length ? ` ${label}: ${some.map(({ title }) => title).join('; ')}.` : ''
  const met = are('met').length
  const verdicts =
    (met === promised.length ? `All ${met} goals are met.` : `${met} of ${promised.length} goals are met.`) +
    named('Missed', are('missed')) +
    named('Too busy to tell', are(BUSY)) +
    (failed.length ? ` Not measured, because they failed: ${failed.join(', ')}.` : '') +
    (left.length ? ` Not measured, because the run ended before: ${left.join(', ')}.` : '')
  return `# Bench

${HOW}

Taken on ${about.date}${about.commit ? `, commit ${about.commit}` : ''}, ${about.machine}. ${Object.entries(about.versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}.

## Goals

![Each measurement as a share of its goal](bench.svg)

${verdicts}

| | median | middle half | goal | |
|---|--:|--:|--:|---|
${findings.map(row).join('\n')}

## Where it goes

${findings
  .filter(({ parts, profile }) => parts.length || profile)
  .map(details)
  .join('\n')}`
}

const MARKS = new Map<Verdict | null, string>([
  ['met', 'met'],
  ['missed', '**missed**'],
])

const row = (finding: Finding) => {
  const { title, value, unit, goal } = finding
  const verdict = MARKS.get(verdictOf(finding)) ?? ''
  return `| ${title} | ${shownMedian(finding)} | ${range(value, unit)} | ${goal === null ? '' : shown(goal, unit)} | ${verdict} |`
}

const details = ({ title, note, parts, profile }: Finding) => `### ${title}

${note}

| | median | middle half |
|---|--:|--:|
${parts.map(({ label, value, unit }) => `| ${label} | ${shown(value.median, unit)} | ${range(value, unit)} |`).join('\n')}
${profile ? `\n${profiled(profile)}\n` : ''}`

const profiled = (profile: NonNullable<Finding['profile']>) =>
  `CPU profile, by where the code stands: ${profile.map(({ where, percent }) => `${where} ${percent.toFixed(0)} %`).join(', ')}.`
