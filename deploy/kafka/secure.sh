# Sourced by deploy/kafka.sh for `start --secure`: a certificate authority, the broker's certificate,
# a password for each user, and the broker's properties. All of it lies in DIR/secrets, for its owner alone.

# admin may do everything; the others have what stream/kafka/acls.toml grants the role of their name.
SECURE_USERS=(admin replay worker ingest outcomes retrain archive promote subscriber shop forget exporter operator)
CERTIFICATE_DAYS=825

no_certificate() { # folder
  fail "openssl made no certificate: $(tail -n 1 "$1/openssl.log")" "The broker was not started." "See $1/openssl.log."
}

make_secrets() { # folder
  local folder=$1 user password
  [ -f "$folder/.complete" ] && return
  command -v openssl >/dev/null || fail "openssl is not installed" "It makes the certificates." "Install openssl."
  rm -rf "$folder"
  mkdir -p -m 700 "$folder"
  # Kafka wants its private key as PKCS#8, before its certificate, in one file.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$CERTIFICATE_DAYS" \
    -subj "/CN=nextclick test authority" -addext "basicConstraints=critical,CA:TRUE" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>"$folder/openssl.log" || no_certificate "$folder"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=broker" \
    -keyout "$folder/broker.key" -out "$folder/broker.csr" 2>>"$folder/openssl.log" ||
    no_certificate "$folder"
  printf '%s\n' "subjectAltName=DNS:localhost,IP:127.0.0.1" "extendedKeyUsage=serverAuth,clientAuth" \
    "basicConstraints=critical,CA:FALSE" >"$folder/broker.ext"
  openssl x509 -req -in "$folder/broker.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial \
    -days "$CERTIFICATE_DAYS" -extfile "$folder/broker.ext" -out "$folder/broker.crt" 2>>"$folder/openssl.log" ||
    no_certificate "$folder"
  cat "$folder/broker.key" "$folder/broker.crt" >"$folder/broker.pem"
  for user in broker "${SECURE_USERS[@]}"; do
    password=$(openssl rand -hex 24)
    printf '%s\n' "$password" >"$folder/$user.password"
    printf '%s\n' "--add-scram" "SCRAM-SHA-512=[name=$user,password=$password]" >>"$folder/scram.arguments"
    cat >"$folder/$user.env" <<EOT
NEXTCLICK_SECURITY_PROTOCOL=SASL_SSL
NEXTCLICK_SASL_MECHANISM=SCRAM-SHA-512
NEXTCLICK_SASL_USERNAME=$user
NEXTCLICK_SASL_PASSWORD_FILE=$folder/$user.password
NEXTCLICK_SSL_CA_FILE=$folder/ca.pem
EOT
  done
  touch "$folder/.complete"
}

secure_properties() { # folder, port, controller's port
  local folder=$1 port=$2 controller=$3 jaas=org.apache.kafka.common.security.scram.ScramLoginModule
  cat <<EOT
listeners=SASL_SSL://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=SASL_SSL://127.0.0.1:$port
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SSL
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$jaas required username="broker" password="$(cat "$folder/broker.password")";
ssl.keystore.type=PEM
ssl.keystore.location=$folder/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$folder/ca.pem
ssl.enabled.protocols=TLSv1.3,TLSv1.2
# The controller takes no passwords: who speaks to it has a certificate of this authority.
listener.name.controller.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=(.*)\$/\$1/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:broker;User:admin
allow.everyone.if.no.acl.found=false
EOT
}
