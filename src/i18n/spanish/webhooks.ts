/** Sentences of events and webhooks (src/events, src/webhooks): English -> Spanish. */
export const webhooks = {
  'Events are all activities: activity:export at scope all is needed.':
    'Los eventos son todas las actividades: se necesita activity:export con alcance all.',
  'A webhook exports activities: activity:export at scope all is needed.':
    'Un webhook exporta actividades: se necesita activity:export con alcance all.',
  'A tenant can have at most 20 webhooks: delete one first.':
    'Un inquilino puede tener como máximo 20 webhooks: elimina uno antes.',
  'Changing a webhook needs setting:update at scope all.': 'Cambiar un webhook requiere setting:update con alcance all.',
  'Changing a hook needs setting:update at scope all.': 'Cambiar un hook requiere setting:update con alcance all.',
  'the message could not be made': 'no se pudo componer el mensaje',
  'A hook of logins needs every permission at scope all: it decides who comes in, and what their tokens say.':
    'Un hook de inicios de sesión necesita todos los permisos con alcance all: decide quién entra y qué dicen sus tokens.',
  'A hook is told who logs in: activity:export at scope all is needed.':
    'A un hook se le dice quién inicia sesión: se necesita activity:export con alcance all.',
  'A hook of this tenant refuses this.': 'Un hook de este inquilino lo rechaza.',
  'A hook of this tenant does not answer, and nothing goes on without it.':
    'Un hook de este inquilino no responde, y sin él nada continúa.',
  'There is a hook for this act: pause it first.': 'Ya hay un hook para este acto: páusalo antes.',
  'A tenant can have at most 20 hooks: delete one first.': 'Un inquilino puede tener como máximo 20 hooks: elimina uno antes.',
  'has a hook already': 'ya tiene un hook',
  'must be a type of event, or all of a subject, as `user.*`':
    'debe ser un tipo de evento, o todos los de un tema, como `user.*`',
}
