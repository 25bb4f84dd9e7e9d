/** The script of the page of /docs, which is deployed beside the Worker. */
export const start = `const words = (text) => text.toLowerCase().split(/\\s+/).filter(Boolean)
/** The search goes over operations: their subject, method, path, summary and name. */
const opsFilter = (subjects, phrase) =>
  subjects
    .map((subject, name) =>
      subject.update('operations', (all) =>
        all.filter((one) => {
          const said = [name, one.get('method'), one.get('path'), one.getIn(['operation', 'summary']), one.getIn(['operation', 'operationId'])]
          const text = said.join(' ').toLowerCase()
          return words(phrase).every((word) => text.includes(word))
        }),
      ),
    )
    .filter((subject) => subject.get('operations').size > 0)

const ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#api',
  deepLinking: true,
  docExpansion: 'none',
  defaultModelsExpandDepth: 0,
  filter: true,
  tryItOutEnabled: true,
  persistAuthorization: false,
  plugins: [{ fn: { opsFilter } }],
})

const login = document.getElementById('login')
login.addEventListener('submit', async (event) => {
  event.preventDefault()
  const said = login.querySelector('output')
  const { username, password } = Object.fromEntries(new FormData(login))
  const answer = await fetch(login.dataset.at, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ username, password }),
  }).catch(() => null)
  const body = (await answer?.json().catch(() => null)) ?? { detail: 'There was no answer.' }
  if (body.access_token) ui.preauthorizeApiKey('bearer', body.access_token)
  said.textContent = body.access_token ? 'Logged in as ' + username + '.' : (body.detail ?? 'There was no token in the answer.')
  if (body.access_token) login.elements.password.value = ''
})

document.getElementById('tenant')?.addEventListener('submit', (event) => {
  event.preventDefault()
  const { address } = event.target.dataset
  location.assign(address.replace('{tenant}', event.target.elements.tenant.value))
})
`
