/* What the server uses of GnuTLS 3.5.7 (2016), as its manual declares it: see libc.h. */
#ifndef NBDKIT_BUN_GNUTLS_H
#define NBDKIT_BUN_GNUTLS_H

#include <stddef.h>
#include <stdint.h>

/* Objects that only GnuTLS looks into. */
typedef void *gnutls_session_t;
typedef void *gnutls_certificate_credentials_t;
typedef void *gnutls_psk_server_credentials_t;
typedef void *gnutls_priority_t;
typedef void *gnutls_x509_crt_t;
typedef void *gnutls_x509_privkey_t;

/* Enums. */
typedef unsigned gnutls_alert_description_t;
typedef unsigned gnutls_certificate_print_formats_t;
typedef unsigned gnutls_certificate_request_t;
typedef unsigned gnutls_certificate_type_t;
typedef unsigned gnutls_close_request_t;
typedef unsigned gnutls_credentials_type_t;
typedef unsigned gnutls_sign_algorithm_t;
typedef unsigned gnutls_x509_crt_fmt_t;

typedef int64_t time_t;
typedef int64_t ssize_t;
typedef struct gnutls_datum_t gnutls_datum_t;

struct gnutls_datum_t {
  uint8_t *data;
  unsigned size;
};

#define GNUTLS_SERVER 1
#define GNUTLS_NONBLOCK (1 << 3)
#define GNUTLS_NO_SIGNAL (1 << 6)
#define GNUTLS_NO_TICKETS (1 << 10)
#define GNUTLS_CRD_CERTIFICATE 1
#define GNUTLS_CRD_PSK 4
#define GNUTLS_CERT_REQUIRE 2
#define GNUTLS_SHUT_WR 1
#define GNUTLS_X509_FMT_DER 0
#define GNUTLS_X509_FMT_PEM 1
#define GNUTLS_CRT_X509 1
#define GNUTLS_CRT_PRINT_ONELINE 1
#define GNUTLS_E_FATAL_ALERT_RECEIVED -12
#define GNUTLS_E_WARNING_ALERT_RECEIVED -16
#define GNUTLS_E_DECRYPTION_FAILED -24
#define GNUTLS_E_AGAIN -28
#define GNUTLS_E_NO_CERTIFICATE_FOUND -49
#define GNUTLS_E_INTERRUPTED -52
#define GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER -55
#define GNUTLS_E_PREMATURE_TERMINATION -110
#define GNUTLS_E_CERTIFICATE_REQUIRED -112
#define GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR -348

const char *gnutls_strerror (int error);
int gnutls_error_is_fatal (int error);

/* Sessions. */
int gnutls_init (gnutls_session_t *session, unsigned flags);
void gnutls_deinit (gnutls_session_t session);
int gnutls_handshake (gnutls_session_t session);
int gnutls_bye (gnutls_session_t session, gnutls_close_request_t how);
ssize_t gnutls_record_recv (gnutls_session_t session, void *data, size_t data_size);
ssize_t gnutls_record_send (gnutls_session_t session, const void *data, size_t data_size);
char *gnutls_session_get_desc (gnutls_session_t session);
gnutls_alert_description_t gnutls_alert_get (gnutls_session_t session);
const char *gnutls_alert_get_name (gnutls_alert_description_t alert);
int gnutls_alert_send_appropriate (gnutls_session_t session, int err);

/* What a session reads from and writes to. */
void gnutls_transport_set_errno (gnutls_session_t session, int err);
void gnutls_transport_set_push_function (gnutls_session_t session,
                                         ssize_t (*push) (void *transport, const void *data, size_t size));
void gnutls_transport_set_pull_function (gnutls_session_t session,
                                         ssize_t (*pull) (void *transport, void *data, size_t size));
void gnutls_transport_set_pull_timeout_function (gnutls_session_t session,
                                                 int (*pull_timeout) (void *transport, unsigned ms));

/* Priorities. */
int gnutls_priority_init (gnutls_priority_t *priority_cache, const char *priorities, const char **err_pos);
void gnutls_priority_deinit (gnutls_priority_t priority_cache);
int gnutls_priority_set (gnutls_session_t session, gnutls_priority_t priority);
const gnutls_sign_algorithm_t *gnutls_sign_list (void);
const char *gnutls_sign_get_name (gnutls_sign_algorithm_t algorithm);

/* Who the server and its clients are. */
int gnutls_credentials_set (gnutls_session_t session, gnutls_credentials_type_t type, void *cred);
gnutls_credentials_type_t gnutls_auth_get_type (gnutls_session_t session);
int gnutls_certificate_allocate_credentials (gnutls_certificate_credentials_t *res);
int gnutls_certificate_set_x509_trust_mem (gnutls_certificate_credentials_t res, const gnutls_datum_t *ca,
                                           gnutls_x509_crt_fmt_t type);
int gnutls_certificate_set_x509_crl_mem (gnutls_certificate_credentials_t res, const gnutls_datum_t *crl,
                                         gnutls_x509_crt_fmt_t type);
int gnutls_certificate_set_x509_key_mem (gnutls_certificate_credentials_t res, const gnutls_datum_t *cert,
                                         const gnutls_datum_t *key, gnutls_x509_crt_fmt_t type);
void gnutls_certificate_server_set_request (gnutls_session_t session, gnutls_certificate_request_t req);
const gnutls_datum_t *gnutls_certificate_get_peers (gnutls_session_t session, unsigned *list_size);
int gnutls_certificate_verification_status_print (unsigned status, gnutls_certificate_type_t type,
                                                  gnutls_datum_t *out, unsigned flags);
void gnutls_session_set_verify_cert (gnutls_session_t session, const char *hostname, unsigned flags);
unsigned gnutls_session_get_verify_cert_status (gnutls_session_t session);
int gnutls_psk_allocate_server_credentials (gnutls_psk_server_credentials_t *sc);
int gnutls_psk_set_server_credentials_file (gnutls_psk_server_credentials_t res, const char *password_file);
const char *gnutls_psk_server_get_username (gnutls_session_t session);

/* Certificates and keys. */
int gnutls_x509_crt_init (gnutls_x509_crt_t *cert);
void gnutls_x509_crt_deinit (gnutls_x509_crt_t cert);
int gnutls_x509_crt_import (gnutls_x509_crt_t cert, const gnutls_datum_t *data, gnutls_x509_crt_fmt_t format);
int gnutls_x509_crt_print (gnutls_x509_crt_t cert, gnutls_certificate_print_formats_t format, gnutls_datum_t *out);
int gnutls_x509_crt_get_dn3 (gnutls_x509_crt_t cert, gnutls_datum_t *dn, unsigned flags);
int gnutls_x509_crt_get_issuer_dn3 (gnutls_x509_crt_t cert, gnutls_datum_t *dn, unsigned flags);
time_t gnutls_x509_crt_get_activation_time (gnutls_x509_crt_t cert);
time_t gnutls_x509_crt_get_expiration_time (gnutls_x509_crt_t cert);
int gnutls_x509_privkey_init (gnutls_x509_privkey_t *key);
void gnutls_x509_privkey_deinit (gnutls_x509_privkey_t key);
int gnutls_x509_privkey_import2 (gnutls_x509_privkey_t key, const gnutls_datum_t *data, gnutls_x509_crt_fmt_t format,
                                 const char *password, unsigned flags);

#endif /* NBDKIT_BUN_GNUTLS_H */
