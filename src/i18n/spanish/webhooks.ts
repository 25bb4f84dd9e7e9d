/** Sentences of events and webhooks (src/events, src/webhooks): English -> Spanish. */
export const webhooks = {
  'Events are all activities: activity:export at scope all is needed.':
    'Los eventos son todas las actividades: se necesita activity:export con alcance all.',
  'A webhook exports activities: activity:export at scope all is needed.':
    'Un webhook exporta actividades: se necesita activity:export con alcance all.',
  'A tenant can have at most 20 webhooks: delete one first.':
    'Un inquilino puede tener como máximo 20 webhooks: elimina uno antes.',
  'Changing a webhook needs setting:update at scope all.': 'Cambiar un webhook requiere setting:update con alcance all.',
  'must be a type of event, or all of a subject, as `user.*`':
    'debe ser un tipo de evento, o todos los de un tema, como `user.*`',
}
