/** What audiences and OAuth say, as in worker.ts. */
export const oauth = {
  'must be an absolute URI without a fragment, such as https://api.example.com':
    'debe ser un URI absoluto sin fragmento, como https://api.example.com',
  'is an address of this service': 'es una dirección de este servicio',
  'Another audience has this identifier.': 'Otra audiencia tiene este identificador.',
  'must be visible ASCII characters': 'deben ser caracteres ASCII visibles',
}
