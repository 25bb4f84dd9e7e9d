/** What is said of origins of pages, as in worker.ts. */
export const origins = {
  'Pages of this origin are not allowed. An administrator can add it to `origins` in the settings.':
    'Aquí no se admiten páginas de este origen. Un administrador puede añadirlo a `origins` en la configuración.',
  'must be an origin as browsers write it, such as https://app.example.com: no path, no default port, lower case':
    'debe ser un origen como lo escriben los navegadores, como https://app.example.com: sin ruta, sin puerto por defecto, en minúsculas',
  'must not name an origin twice': 'no debe nombrar un origen dos veces',
  'must be an origin such as https://app.example.com, without a path':
    'debe ser un origen como https://app.example.com, sin ruta',
  'must be https, or of localhost': 'debe ser https, o de localhost',
  'must be an origin, in which * may stand for the labels before a domain and for a port: https://*.example.com':
    'debe ser un origen, en el que * puede estar en lugar de las etiquetas ante un dominio y de un puerto: https://*.example.com',
  'is outside of what the operators of this service allow: {origins}':
    'queda fuera de lo que admiten los operadores de este servicio: {origins}',
}
