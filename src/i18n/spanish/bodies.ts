/** Sentences about requests without a body (src/http/bodies.ts): English -> Spanish. */
export const bodies = {
  'This request takes no body.': 'Esta petición no lleva cuerpo.',
  'must be empty: this request takes no body': 'tiene que estar vacío: esta petición no lleva cuerpo',
}
