import { assetText } from '../../assets/assets.ts'
import type { Migration } from './migrations.ts'

// Written by `npm run migration`.
const listed = (name: string, checksum: string): Migration => ({
  name,
  checksum,
  read: () => assetText(`drizzle/${name}.sql`, checksum),
})

/** What all migrations make of a tenant’s database, as `unpack` reads it (migration/fingerprint.ts). */
export const tenantFingerprint = (): Promise<string> =>
  assetText('drizzle/tenant/meta/fingerprint.json', 'ee782167da10b9c88af3f5bf639d671524ad7dec1c2152d3bf72750e9ad9f112')

/** The migrations of a tenant’s database, in order. */
export const tenantMigrations: Migration[] = [
  // In the order of their numbers.
  listed('tenant/0000_baseline', 'ecc60404a11c05cad1d94936900fc8ee9456c53a3cc2ca25d1c8fe6e5880cbb4'),
  listed('tenant/0001_cost', '1466eb0d0c2d5a2d7e2be65d3d86f40c7f2e0dc322d5e7c902f7afdcc4336099'),
  listed('tenant/0002_attacks', 'aacd4e558eda7d709b340eee4491e7aebdbfac52a4de1f722de6cb22c31e0025'),
  listed('tenant/0003_what_attackers_found', '95f0edf34de9c6b13ca45760e76669cc0ca86cef794384607408f04fc5c1631e'),
  listed('tenant/0004_asvs', 'f6168c0ae926e3c5a1fe125e162860f2766bd844311a2609ca42327c915b4780'),
  listed('tenant/0005_fleet', '904ee2ab407e9c1f10ba431f340735df047e166c6439a7759f7e4c399df19f4d'),
  listed('tenant/0006_people', '14f769987f0e06fdad5a0a71127abf2aa41d3dd6ed3892995ffcefe8307734a2'),
  listed('tenant/0007_members', '259c40fe17cd6057a306c05ba5c5f9a5ff02dd6297dd045f7aebcfbb88acc6b2'),
  listed('tenant/0008_watching', 'c3a07f48583b51153723fc969f7268b113eeafb99e7df92ad91ff2fbe1253d9d'),
  listed('tenant/0009_bounded', '82c14e58d2d6f235a190f8e6277762bafb272323f8cc419446afe5946be45b16'),
]
