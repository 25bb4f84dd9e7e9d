/** The documents as they are deployed beside the Worker, for the base domain and for the host of a tenant, which has no platform. */
export const DOCUMENTS = { all: 'documents/all.json', tenant: 'documents/tenant.json' } as const

/** What stands in them for the address of the base domain. */
export const BASE = 'https://base-domain.invalid'

/** The script of the page of /docs. */
export const SCRIPT = 'docs/script.js'
