import { z } from '@hono/zod-openapi'
import { languageOf } from '../http/accept-language.ts'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { ImportQuery } from '../imports/report.ts'
import { Problem } from '../kernel/problem.ts'
import {
  changeEmployee,
  createEmployee,
  Employee,
  EmployeeList,
  EmployeePatch,
  EmployeeQuery,
  getEmployee,
  listEmployees,
  NewEmployee,
} from './employees.ts'
import { EmployeeImportReport, ImportedEmployee, importEmployees } from './import.ts'
import { asCsv, EmployeeReport, employeeReport, Headcount, HeadcountQuery, headcount, ReportQuery } from './report.ts'
import { reinstate, Termination, terminate } from './terminating.ts'

const Id = z.object({ id: z.uuid() })

const csv = (name: string) => ({
  'Content-Type': 'text/csv; charset=utf-8; header=present',
  'Content-Disposition': `attachment; filename="${name}.csv"`,
})
const JSON_HEADERS = { 'Content-Type': 'application/json' }

/** Employees, under /api/v1/employees. */
export const employeeRoutes = room()

employeeRoutes.openapi(
  route({
    operationId: 'listEmployees',
    method: 'get',
    path: '/',
    summary: 'List employees the caller can access; `search` is a prefix match on family name and given names',
    permission: 'employee:read',
    trips: 1,
    query: EmployeeQuery,
    returns: { 200: EmployeeList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listEmployees(c.var.ctx, c.req.valid('query')), 200),
)

employeeRoutes.openapi(
  route({
    operationId: 'createEmployee',
    method: 'post',
    path: '/',
    summary: 'Create an employee, with or without an account',
    permission: 'employee:create',
    trips: 1,
    body: NewEmployee,
    returns: { 201: Employee },
    problems: ['already_exists'],
  }),
  async (c) => created(c, await createEmployee(c.var.ctx, c.req.valid('json'))),
)

employeeRoutes.openapi(
  route({
    operationId: 'reportEmployees',
    method: 'get',
    path: '/report',
    summary: 'Count employees by unit, position, role or status, now or at a past moment, as JSON or CSV',
    permission: 'employee:read',
    trips: 1,
    query: ReportQuery,
    files: { 'application/json': EmployeeReport, 'text/csv': z.string() },
    returns: { 200: null },
    problems: ['invalid_request'],
  }),
  async (c) => {
    const { format, ...asked } = c.req.valid('query')
    const report = await employeeReport(c.var.ctx, asked)
    if (format === 'json') return c.body(JSON.stringify(report), 200, JSON_HEADERS)
    return c.body(asCsv(['key', 'name', 'employees'], report.data), 200, csv(`employees-by-${asked.by}`))
  },
)

employeeRoutes.openapi(
  route({
    operationId: 'countEmployees',
    method: 'get',
    path: '/headcount',
    summary: 'Count who was employed at the end of each of a row of days, as JSON or CSV',
    permission: 'employee:read',
    trips: 1,
    query: HeadcountQuery,
    files: { 'application/json': Headcount, 'text/csv': z.string() },
    returns: { 200: null },
    problems: ['invalid_request'],
  }),
  async (c) => {
    const { format, ...asked } = c.req.valid('query')
    const { data } = await headcount(c.var.ctx, asked)
    if (format === 'json') return c.body(JSON.stringify({ data }), 200, JSON_HEADERS)
    return c.body(asCsv(['date', 'employees'], data), 200, csv('headcount'))
  },
)

// Neither is an id.
for (const path of ['/report', '/headcount'])
  employeeRoutes.on(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], path, () => {
    throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'GET, HEAD' } })
  })

employeeRoutes.openapi(
  route({
    operationId: 'importEmployees',
    method: 'post',
    path: '/import',
    summary:
      'Import employees, as JSON lines or CSV; read the report while you send. 2 round trips for up to 200 lines, and 1 more for each further 200',
    permission: 'employee:create',
    trips: 2,
    lines: { takes: ImportedEmployee, gives: EmployeeImportReport, csv: true },
    query: ImportQuery,
    returns: { 200: null },
  }),
  async (c) => {
    const body = c.req.raw.body ?? new ReadableStream({ start: (controller) => controller.close() })
    const language = languageOf(c.req.header('Accept-Language'))
    const is_csv = c.req.header('Content-Type') === 'text/csv'
    const report = await importEmployees(c.var.ctx, body, { is_csv, dry_run: c.req.valid('query').dry_run === 'true', language })
    const headers = { 'Content-Type': 'application/x-ndjson', 'Content-Language': language.tag, Vary: 'Accept-Language' }
    return c.body(report, 200, headers)
  },
)
employeeRoutes.on(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], '/import', () => {
  throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'POST' } })
})

employeeRoutes.openapi(
  route({
    operationId: 'getEmployee',
    method: 'get',
    path: '/{id}',
    summary: 'Get an employee',
    permission: 'employee:read',
    trips: 1,
    params: Id,
    returns: { 200: Employee },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getEmployee(c.var.ctx, c.req.valid('param').id)),
)

employeeRoutes.openapi(
  route({
    operationId: 'updateEmployee',
    method: 'patch',
    path: '/{id}',
    summary: 'Change the given fields of an employee',
    permission: 'employee:update',
    trips: 1,
    params: Id,
    body: EmployeePatch,
    returns: { 200: Employee },
    problems: ['not_found', 'already_exists', 'illegal_state', 'etag_mismatch'],
  }),
  async (c) => answer(c, await changeEmployee(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

employeeRoutes.openapi(
  route({
    operationId: 'terminateEmployee',
    method: 'post',
    path: '/{id}/terminate',
    summary: 'End an employment, now or at a date, and deactivate the account with it',
    permission: 'employee:update',
    trips: 1,
    params: Id,
    body: Termination,
    returns: { 200: Employee },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => answer(c, await terminate(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
)

employeeRoutes.openapi(
  route({
    operationId: 'reinstateEmployee',
    method: 'post',
    path: '/{id}/reinstate',
    summary: 'Undo the end of an employment; the account that it deactivated is active again',
    permission: 'employee:update',
    trips: 1,
    params: Id,
    returns: { 200: Employee },
    problems: ['not_found', 'illegal_state', 'limit_reached'],
  }),
  async (c) => answer(c, await reinstate(c.var.ctx, c.req.valid('param').id)),
)
