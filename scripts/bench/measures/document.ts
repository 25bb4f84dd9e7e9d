import type { Measure } from '../finding.ts'
import { send } from '../load.ts'
import { spread } from '../samples.ts'

const KIB = 1024

/** How large the OpenAPI document is on the base domain and on the host of a tenant, and what an isolate spends that has answered it before. */
export const document: Measure = {
  name: 'document',
  async run({ main, tenant, workerd, quick }) {
    const hosts: [label: string, subdomain: string | null][] = [
      ['on the base domain', null],
      ['on the host of a tenant', tenant.subdomain],
    ]
    const found = []
    for (const [label, subdomain] of hosts) {
      const target = main.at(subdomain, '/openapi.json')
      const { text } = await send(target)
      const cpu: number[] = []
      for (let i = 0; i < (quick ? 10 : 40); i++) {
        const before = await workerd.cpuMs()
        await send(target)
        cpu.push((await workerd.cpuMs()) - before)
      }
      found.push({ label, size: spread([Buffer.byteLength(text) / KIB]), cpu: spread(cpu) })
    }
    const [base] = found
    return [
      {
        title: 'The OpenAPI document',
        value: base?.size ?? spread([]),
        unit: 'KiB',
        goal: 750,
        parts: found.map(({ label, size }) => ({ label, value: size, unit: 'KiB' })),
        note: 'Not compressed. It is made when the Worker is built.',
      },
      {
        title: 'Answering with the OpenAPI document, CPU',
        value: base?.cpu ?? spread([]),
        unit: 'ms',
        goal: 20,
        parts: found.map(({ label, cpu }) => ({ label, value: cpu, unit: 'ms' })),
        note: 'With its entity tag, in an isolate that has read it before.',
      },
    ]
  },
}
