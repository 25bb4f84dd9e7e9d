/** Sentences of risk (src/risk): English -> Spanish. */
export const risk = {
  'must not sum to nothing: to stop no login, set risk_action to none':
    'no pueden sumar cero: para no detener ningún acceso, pon risk_action en none',
  'must not sum to nothing': 'no pueden sumar cero',
  'must be at least risk_suspicious': 'debe ser al menos risk_suspicious',
  'must be at most risk_stop': 'debe ser como máximo risk_stop',
  'must be at least the threshold suspicious': 'debe ser al menos el umbral suspicious',
  'Rehearsing settings of risk needs setting:update.': 'Para ensayar ajustes de riesgo hace falta setting:update.',
}
