const ID = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'

/** Examples of what operations on employees and competencies take. */
export const people = {
  createEmployee: {
    document_type: 'dni',
    document_number: '40123478',
    given_names: 'Lucía',
    family_name: 'Quispe Rojas',
    position: 'Analyst',
    employed_since: '2024-02-01',
  },
  importEmployees: { document_type: 'dni', document_number: '40123478', given_names: 'Lucía', family_name: 'Quispe Rojas' },
  updateEmployee: { position: 'Head of laboratory' },
  terminateEmployee: { reason: 'End of contract', at: '2026-12-31T23:59:59Z' },
  createCompetencyType: { name: 'Forklift', kind: 'equipment', valid_months: 24 },
  updateCompetencyType: { valid_months: 12 },
  createCompetency: { user_id: ID, type_id: ID, level: 3, issued_at: '2026-01-15' },
  updateCompetency: { level: 2 },
  revokeCompetency: { reason: 'The certificate was withdrawn' },
}
