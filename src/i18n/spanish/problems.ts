import type { Code } from '../../kernel/problem.ts'

/** The catalogue of problem.ts in Spanish: code -> title and remedy. A code without a row does not compile. */
export const problems = {
  invalid_request: ['La solicitud no es válida', 'Corrige los campos que indica `errors`.'],
  invalid_cursor: ['El cursor no es uno de los nuestros', 'Empieza de nuevo sin cursor.'],
  tenant_required: ['No se indicó ningún inquilino', 'Usa el host del inquilino o la cabecera X-Tenant.'],
  tenant_ambiguous: [
    'Se indicaron dos inquilinos',
    'Haz que X-Tenant y el host nombren al mismo inquilino, o envía solo uno de los dos.',
  ],
  credentials_ambiguous: ['Se enviaron dos credenciales', 'Envía una sola credencial.'],
  token_missing: ['Se necesita un token', 'Envía Authorization: Bearer con un token de acceso.'],
  token_invalid: ['El token no es válido', 'Inicia sesión de nuevo.'],
  token_expired: ['El token ha caducado', 'Cambia el token de renovación por uno nuevo.'],
  token_wrong_tenant: ['El token es de otro inquilino', 'Inicia sesión en este inquilino.'],
  session_ended: ['La sesión ha terminado', 'Inicia sesión de nuevo.'],
  refresh_invalid: ['El token de renovación no es válido', 'Inicia sesión de nuevo.'],
  refresh_reused: [
    'El token de renovación ya se había usado',
    'La sesión se ha cerrado, porque otra persona podría tener el token. Inicia sesión de nuevo.',
  ],
  invalid_credentials: [
    'Las credenciales no son válidas',
    'Comprueba el identificador y la contraseña. Tras varios fallos, espera antes del siguiente intento.',
  ],
  step_up_required: [
    'Hace falta un inicio de sesión más reciente o más fuerte',
    'Haz POST auth/step-up y envía la solicitud otra vez.',
  ],
  forbidden: ['No está permitido', 'Pide el permiso a un administrador.'],
  https_required: [
    'Se requiere HTTPS',
    'Usa https. Otros pueden haber leído esta solicitud: cambia la contraseña, o termina la sesión o la clave, que llevaba.',
  ],
  password_change_required: [
    'Primero hay que cambiar la contraseña',
    'Haz primero POST auth/password-change y continúa después.',
  ],
  mfa_setup_required: [
    'Primero hay que configurar un segundo factor',
    'Haz POST auth/mfa/setup, o inicia sesión con una llave de acceso, y continúa después.',
  ],
  user_inactive: ['El usuario no está activo', 'Consulta a un administrador.'],
  denied_by_hook: ['Rechazado por un hook del inquilino', 'Pide a un administrador del inquilino que lo revise.'],
  license_expired: ['La licencia ha vencido', 'Pide al operador de este servicio que renueve la licencia.'],
  tenant_inactive: ['El inquilino no está activo', 'Consulta al operador de este servicio.'],
  not_found: ['Aquí no hay nada', 'Comprueba la dirección.'],
  tenant_not_found: ['No existe ese inquilino', 'Comprueba el nombre del inquilino.'],
  method_not_allowed: ['Esta dirección no tiene ese método', 'Mira la cabecera Allow.'],
  subdomain_taken: ['El subdominio está ocupado', 'Elige otro.'],
  tax_id_taken: ['El identificador fiscal está ocupado', 'Ya existe un inquilino con este identificador fiscal.'],
  already_exists: ['Esto ya existe', 'Usa lo que ya existe.'],
  in_use: ['Esto está en uso', 'Termina primero su uso.'],
  limit_reached: ['Se ha alcanzado un límite', 'Aumenta el límite o haz sitio.'],
  illegal_state: ['No es posible en este estado', 'Comprueba primero el estado actual.'],
  tenant_renamed: ['El inquilino tiene ahora otro nombre', 'Envía la petición a la dirección que indica `url`.'],
  etag_mismatch: ['Esto ha cambiado mientras tanto', 'Vuelve a leerlo.'],
  body_too_large: ['El cuerpo es demasiado grande', 'Envía como máximo 1 MiB.'],
  unsupported_media_type: ['No se entiende este tipo de contenido', 'Envía application/json.'],
  idempotency_mismatch: [
    'La Idempotency-Key pertenece a otra solicitud',
    'Envía otra vez la misma solicitud, o una clave nueva.',
  ],
  password_required: [
    'Se necesita una contraseña',
    'Envía de nuevo el token: con el registration_secret que devolvió auth/register, o con una new_password.',
  ],
  rate_limited: ['Demasiadas solicitudes', 'Espera los segundos que indica Retry-After.'],
  internal_error: ['Algo ha fallado aquí', 'Inténtalo de nuevo; si das aviso, indica el identificador de traza.'],
  asset_unavailable: [
    'No se pudo leer una parte de este servicio',
    'Inténtalo de nuevo tras los segundos que indica Retry-After.',
  ],
  database_unavailable: ['La base de datos no responde', 'Inténtalo de nuevo tras los segundos que indica Retry-After.'],
  tenant_upgrading: ['El inquilino se está actualizando', 'Inténtalo de nuevo tras los segundos que indica Retry-After.'],
  provider_unavailable: [
    'El proveedor de este inicio de sesión no responde',
    'Inténtalo de nuevo en un minuto, o inicia sesión de otra manera.',
  ],
  tenant_provisioning: ['El inquilino todavía se está creando', 'Inténtalo de nuevo tras los segundos que indica Retry-After.'],
  tenant_unavailable: ['El inquilino no se pudo crear', 'Consulta al operador de este servicio.'],
  no_capacity: ['No hay capacidad para otro inquilino', 'Inténtalo más tarde.'],
} as const satisfies Record<Code, readonly [string, string]>
