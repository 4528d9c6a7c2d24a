package Test::Lockbox::Conf;

# The world that tests agree on: two issuers, their people, a signing key, and
# a configuration of nginx with all of it.

use strict;
use warnings;

use Time::HiRes ();

use Lockbox::Jose qw(jwks key token);

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';
my $LOCKBOX = 'https://lockbox.vendor.example';
my $AUDIENCE = 'tenant-api';

# Who somebody is unless a test says otherwise.
my %PEOPLE = (
    engineer => { iss => $VENDOR, sub => 'erin',
                  claims => { groups => ['support-engineers'] } },
    manager  => { iss => $VENDOR, sub => 'mona',
                  claims => { realm_access => { roles => ['managers'] } } },
    auditor  => { iss => $VENDOR, sub => 'audrey',
                  claims => { groups => ['auditors'] } },
    customer => { iss => $CUSTOMERS, sub => 'carl',
                  claims => { roles => ['lockbox-approver'],
                              tenant_id => 'acme' } },
);

my %ISSUER_KEYS = (
    $VENDOR    => ['P-256', 'vendor'],
    $CUSTOMERS => ['RSA2048', 'customers'],
);

my $ISSUERS = <<"EOF_ISSUERS";
lockbox_issuer $VENDOR {
    keys      %%TESTDIR%%/vendor.jwks.json;
    audience  lockbox;
    role      engineer  groups=support-engineers;
    role      manager   /realm_access/roles=managers;
    role      auditor   groups=auditors;
}

lockbox_issuer $CUSTOMERS {
    keys          %%TESTDIR%%/customers.jwks.json;
    audience      lockbox;
    role          customer  roles=lockbox-approver;
    tenant_claim  tenant_id;
}
EOF_ISSUERS

# Where nginx is slow, so is what it takes for the silence of Redis.
my $PATIENCE = defined $ENV{LOCKBOX_TIMEOUT}
    ? " connect_timeout=$ENV{LOCKBOX_TIMEOUT}s timeout=$ENV{LOCKBOX_TIMEOUT}s"
    : '';

my %DIRECTIVES = (
    lockbox_redis          => "%%REDIS%%$PATIENCE",
    lockbox_signing_key    => '%%TESTDIR%%/signing.pem',
    lockbox_grant_issuer   => $LOCKBOX,
    lockbox_grant_audience => $AUDIENCE,
    lockbox_audit_log      => '%%TESTDIR%%/audit.log',
    lockbox_max_open       => 1000,
);

my $LOCATIONS = <<'EOF_LOCATIONS';
location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    lockbox          on;
    lockbox_tenant   $tenant;
    lockbox_service  $service;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}

location /lockbox/ {
    lockbox_admin  on;
}
EOF_LOCATIONS

my $PLAIN_LOCATIONS = <<'EOF_LOCATIONS';
location / {
    proxy_pass  http://127.0.0.1:%%PORT_8081%%;
}
EOF_LOCATIONS


# A whole nginx.conf.  Texts: main, events, http, server (what to add there),
# locations and issuers (instead of the usual ones).  Besides: workers (their
# number), directives (a hash over %DIRECTIVES; undef leaves one out, an array
# repeats it), and module => 0 for nginx without the module.
sub nginx_conf {
    my ($t, %parts) = @_;

    my $module = $parts{module} // 1;
    my $locations = $parts{locations}
        // ($module ? $LOCATIONS : $PLAIN_LOCATIONS);

    write_keys($t) if $module;

    return join "\n",
        $module ? '%%MODULE%%' : '',
        # the directory of a test belongs to its user alone
        $> == 0 ? 'user root;' : '',
        'daemon off;',
        'worker_processes ' . ($parts{workers} // 1) . ';',
        'error_log %%TESTDIR%%/error.log '
            . ($ENV{LOCKBOX_DEBUG} ? 'debug;' : 'notice;'),
        'pid %%TESTDIR%%/nginx.pid;',
        $parts{main} // '',
        block('events', 'worker_connections 256;', $parts{events}),
        block('http',
              map({ "${_}_temp_path %%TESTDIR%%/$_;" }
                  qw(client_body proxy fastcgi uwsgi scgi)),
              'access_log off;',
              $module ? lockbox_block(%parts) : '',
              $parts{http},
              block('server',
                    'listen 127.0.0.1:%%PORT_8080%%;',
                    'server_name localhost;',
                    $parts{server}, $locations)),
        '';
}

sub block {
    my ($name, @lines) = @_;

    my $text = join "\n", grep { defined && length } @lines;

    return "$name {\n" . $text =~ s/^(?=.)/    /gmr . "\n}\n";
}

sub lockbox_block {
    my (%parts) = @_;

    my %directives = (%DIRECTIVES, %{ $parts{directives} // {} });
    my @lines;

    for my $name (sort keys %directives) {
        my $value = $directives{$name} // next;
        push @lines, map { "$name $_;" } ref $value ? @$value : $value;
    }

    return join "\n", @lines, '', $parts{issuers} // $ISSUERS;
}

sub write_keys {
    my ($t) = @_;

    $t->write_file('vendor.jwks.json', jwks(issuer_key($VENDOR)));
    $t->write_file('customers.jwks.json', jwks(issuer_key($CUSTOMERS)));
    $t->write_file('signing.pem', signing_key()->{pem});
}

sub issuer_key {
    my ($iss) = @_;

    return key(@{ $ISSUER_KEYS{$iss} });
}

sub signing_key {
    return key('P-256', 'signing');
}

# An identity token of somebody in that role.  Claims are added to the role's;
# the other options are those of Lockbox::Jose::token().
sub identity {
    my ($role, %options) = @_;

    my $person = $PEOPLE{$role} or die "nobody is $role\n";
    my %claims = (%{ $person->{claims} }, %{ delete $options{claims} // {} });

    return token(key => issuer_key($person->{iss}), aud => 'lockbox', %$person,
                 %options, claims => \%claims);
}

# A grant as the module issues it, by default one that lets erin read acme's
# mail for five minutes, and with it its live key in Redis unless live => 0.
# Options: id, tenant, access, and those of Lockbox::Jose::token().
sub grant {
    my ($t, %options) = @_;

    my $id = $options{id} // uuid7();
    my $tenant = $options{tenant} // 'acme';
    my $iat = $options{iat} // time;
    my $access = $options{access} // [ {
        service => 'mail', methods => ['GET'],
        paths => ["/tenants/$tenant/mail/"],
    } ];

    $t->redis_cmd('SET', "lockbox:grant:{$tenant}:$id", 'live', 'EXAT',
                  $options{exp} // $iat + ($options{life} // 300))
        if $options{live} // 1;

    return token(
        key => signing_key(), iss => $LOCKBOX, sub => 'erin',
        aud => $AUDIENCE, iat => $iat, %options,
        header => { typ => 'lockbox-grant+jwt', %{ $options{header} // {} } },
        claims => {
            nbf => $iat, jti => $id, tenant => $tenant,
            engineer_iss => $VENDOR,
            authorization_details =>
                [ map { { type => 'lockbox', %$_ } } @$access ],
            %{ $options{claims} // {} },
        },
    );
}

# A request id (RFC 9562 section 5.7).
sub uuid7 {
    my $hex = sprintf '%012x7%03x%04x%012x',
        int(Time::HiRes::time() * 1000), int rand 0x1000,
        0x8000 | int rand 0x4000, int rand 2 ** 48;

    return join '-', unpack 'A8 A4 A4 A4 A12', $hex;
}


1;
