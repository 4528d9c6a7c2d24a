package Tokens;

# Shows the tokens of forge.py to the module's door, lets the second door of
# verifier.py judge what it said, and shows some of them to nginx, which must
# say the same.

use strict;
use warnings;

use Crypt::JWT qw(decode_jwt);
use Crypt::PK::ECC ();
use Crypt::PK::RSA ();
use File::Basename qw(dirname);
use List::Util qw(first max shuffle);

use Lockbox::Jose qw(json_decode json_encode jwk jwks key thumbprint);
use Test::Lockbox;
use Test::Lockbox::Conf;
use Wire;

my $GRANTS = 'https://lockbox.vendor.example';
my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';
my $GLOBEX = 'https://login.globex.example';

my $AUDIENCE = 'tenant-api';

# Who may sign what, but for the files.  A key is its type, its name and,
# where it is not the usual, its algorithm.
my %WORLD = (
    grants => {
        iss => $GRANTS, aud => $AUDIENCE, leeway => 30, max_life => 14400,
        keys => [ [ 'P-256', 'signing' ], [ 'RSA2048', 'accepted' ],
                  [ 'P-521', 'accepted' ] ],
    },
    issuers => [
        { iss => $VENDOR, aud => 'lockbox', leeway => 0, max_life => 86400,
          keys => [ [ 'P-256', 'vendor' ], [ 'RSA2048', 'vendor' ],
                    [ 'RSA2048', 'vendor512', 'RS512' ],
                    [ 'P-384', 'vendor' ], [ 'P-521', 'vendor' ] ],
          roles => [ role(engineer => 'groups', 'support-engineers'),
                     role(manager => '/realm_access/roles', 'managers'),
                     role(auditor => 'groups', 'auditors') ] },
        { iss => $CUSTOMERS, aud => 'lockbox-customers', leeway => 60,
          max_life => 3600, keys => [ [ 'P-256', 'customers' ] ],
          roles => [ role(customer => 'roles', 'lockbox-approver'),
                     role(auditor => 'roles', 'auditor') ],
          tenant_claim => '/org/id' },
        { iss => $GLOBEX, aud => 'lockbox', leeway => 0, max_life => 86400,
          keys => [ [ 'RSA2048', 'globex' ] ],
          roles => [ role(customer => 'kind', 'approver') ],
          tenant => 'globex' },
    ],
    strangers => [ map { [ $_, 'stranger' ] } qw(P-256 RSA2048 P-384 P-521
                                                 secp256k1 Ed25519) ],
);

my $LOCATIONS = <<"EOF_LOCATIONS";
large_client_header_buffers  4 64k;
keepalive_requests           1000000;

# each request says where it is put to the test, as no client should
set  \$tenant   \$http_x_tenant;
set  \$service  \$http_x_service;

location / {
    lockbox          on;
    lockbox_tenant   \$tenant;
    lockbox_service  \$service;
$Wire::PROXY
}

location /lockbox/ {
    lockbox_admin  on;
}
EOF_LOCATIONS

# Seconds for which the sample for nginx must be worth the same.
my $STEADY = 300;


sub role {
    my ($role, $claim, $value) = @_;

    return { role => $role, claim => $claim, value => $value };
}

# Shows so many of that seed; returns whether all was right, and a report.
sub compare {
    my (%options) = @_;

    my $t = Test::Lockbox->new;
    my $world = write_world($t);
    my $dir = $t->testdir;

    my ($failed) = Wire::python("$dir/tokens", 'tokens.py', 'make',
                                "$dir/world", @options{qw(seed count)});
    die "no tokens\n" if $failed;

    my @tokens = tokens($t);
    answer($t, $world->{now}, \@tokens, 'words');

    my ($different, $report) = Wire::python(undef, 'tokens.py', 'judge',
        map { "$dir/$_" } qw(world tokens words));

    my @differences = (third_voice($world, \@tokens, \$report),
                       in_nginx($t, $world, \@tokens, $options{seed},
                                \$report));

    return (!$different && !@differences,
            join "\n", $report, @differences);
}


# The world

# Writes keys and the file "world", and returns what is in that.
sub write_world {
    my ($t) = @_;

    my %grants = (%{ $WORLD{grants} },
                  keys => [ map { key_facts(@$_) }
                            @{ $WORLD{grants}{keys} } ]);
    $grants{pems} = [ map { $_->{public} } @{ $grants{keys} } ];

    my %world = (
        now => time, grants => \%grants,
        strangers => [ map { key_facts(@$_) } @{ $WORLD{strangers} } ],
        issuers => [ map { issuer($t, $_, %{ $WORLD{issuers}[$_] }) }
                     0 .. $#{ $WORLD{issuers} } ],
    );

    $t->write_file('world', json_encode(\%world));

    return \%world;
}

sub issuer {
    my ($t, $number, %issuer) = @_;

    my @keys = @{ $issuer{keys} };

    # what a single key is for, its kind says
    $issuer{keys} = [ map { key_facts(@$_) } @keys ];
    $issuer{jwks} = $t->write_file("issuer$number.json", jwks(
        map { jwk(key(@$_[0, 1]), alg => @keys > 1 ? alg(@$_) : undef) }
            @keys));

    return \%issuer;
}

sub alg {
    my ($type, $name, $alg) = @_;

    return $alg // key($type, $name)->{alg};
}

sub key_facts {
    my ($type, $name, $alg) = @_;

    my $key = key($type, $name);

    return { kid => thumbprint($key), alg => alg($type, $name, $alg),
             file => $key->{file}, public => $key->{public_file} };
}

# The number, door, kind and bytes of each.
sub tokens {
    my ($t) = @_;

    return map {
        my ($number, $door, $kind, $token) = split / /;
        { number => $number, door => $door, kind => $kind,
          token => pack 'H*', $token // '' };
    } split /\n/, $t->read_file('tokens');
}


# The door without nginx

# Notes in each token the word and the facts of that time, and leaves them in
# a file of that name.
sub answer {
    my ($t, $now, $tokens, $name) = @_;

    my $dir = $t->testdir;
    my $build = defined $ENV{LOCKBOX_UNIT} ? dirname($ENV{LOCKBOX_UNIT})
        : dirname(__FILE__) . '/../../build';

    $t->write_file("$name.in", join '', map {
        "$_->{door} $now " . unpack('H*', $_->{token}) . "\n" } @$tokens);

    local $?;
    system("'$build/differential/door' $dir/world"
           . " < $dir/$name.in > $dir/$name") == 0
        or die "the door failed\n";

    my @answers = split /\n/, $t->read_file($name);
    die "the door did not answer\n" if @answers != @$tokens;

    @$_{qw(word facts)} = split / /, shift @answers, 2 for @$tokens;
}


# A third voice about signatures: what was let in must verify with CryptX,
# too.  Returns what is wrong.
sub third_voice {
    my ($world, $tokens, $report) = @_;

    my (%keys, @differences);
    my @allowed = grep { $_->{word} eq 'allow' } @$tokens;

    for my $rule ($world->{grants}, @{ $world->{issuers} }) {
        $keys{ $rule->{iss} } = { map { $_->{kid} => crypt_key($_) }
                                      @{ $rule->{keys} } };
    }

    for my $token (@allowed) {
        my $parts = eval { Lockbox::Jose::decode($token->{token}) };
        my $keys = $keys{ $parts->{payload}{iss} // '' } // {};
        my $key = defined $parts->{header}{kid}
            ? $keys->{ $parts->{header}{kid} } : (values %$keys)[0];

        my $payload = eval {
            decode_jwt(token => $token->{token}, key => $key->{key},
                       accepted_alg => $key->{alg}, decode_payload => 0,
                       verify_typ => undef);
        };

        push @differences, named($token) . 'let in here, refused by '
            . 'Crypt::JWT: ' . ($@ || 'another payload')
            if ($payload // '')
               ne Lockbox::Jose::b64url_decode((split /\./,
                                                $token->{token})[1]);
    }

    $$report .= 'let in, and verified by Crypt::JWT: '
                . (@allowed - @differences) . ' of ' . @allowed . "\n";

    return @differences;
}

sub crypt_key {
    my ($facts) = @_;

    my $class = $facts->{alg} =~ /^RS/ ? 'Crypt::PK::RSA' : 'Crypt::PK::ECC';

    return { alg => $facts->{alg}, key => $class->new($facts->{public}) };
}


# The door in nginx

# Shows a sample of all kinds to nginx and returns what is wrong.
sub in_nginx {
    my ($t, $world, $tokens, $seed, $report) = @_;

    my @sample = sample($t, $world, $tokens, $seed);

    start_nginx($t, $world);

    my $redis = $t->redis_client;
    for my $facts (map { json_decode($_->{facts}) }
                   grep { $_->{door} eq 'grant' && $_->{facts} } @sample)
    {
        $redis->command('SET', "lockbox:grant:{$facts->{tenant}}:"
                               . $facts->{jti}, 'live');
    }

    my @differences;
    Wire::pipelined($t->port(8080), [ map { request($_) } @sample ], sub {
        my ($index, $response) = @_;

        my $token = $sample[$index];
        my $wrong = $response ? wrong($token, $response) : 'no answer';
        push @differences, named($token) . "$token->{word} without nginx, "
            . "in nginx: $wrong" if $wrong;
    });

    my $reached = Wire::new_lines($t, 'reached');
    my $wanted = grep { $_->{door} eq 'grant' && $_->{word} eq 'allow' }
                      @sample;
    push @differences, "$wanted grants let in, but the tenant API saw "
        . "$reached requests" if $reached != $wanted;

    my %kinds = map { $_->{kind} => 1 } @sample;
    $$report .= 'shown to nginx, too: ' . @sample . ' of ' . keys(%kinds)
                . ' kinds, let in: '
                . (grep { $_->{word} eq 'allow' } @sample)
                . ', differences: ' . @differences . "\n";

    return @differences;
}

# One in forty, as many of each kind, of those that a header field can carry
# and that time does not change before long.
sub sample {
    my ($t, $world, $tokens, $seed) = @_;

    srand $seed;

    my %kinds;
    push @{ $kinds{ $_->{kind} } }, $_ for shuffle grep {
        $_->{token} =~ /\A[^\0-\x20\x7f](?:[^\0-\x1f\x7f]*[^\0-\x20\x7f])?\z/
    } @$tokens;

    my $each = 1 + max(200, @$tokens / 40) / keys %kinds;
    my @chosen = map { [ grep { defined } @$_[0 .. 1.3 * $each] ] }
                     map { $kinds{$_} } sort keys %kinds;

    my @later = map { { %$_ } } map { @$_ } @chosen;
    answer($t, time + $STEADY, \@later, 'later');
    my %later = map { $_->{number} => $_->{word} } @later;

    return map { @$_ > $each ? @$_[0 .. $each] : @$_ }
           map { [ grep { $_->{word} eq $later{ $_->{number} } } @$_ ] }
               @chosen;
}

sub start_nginx {
    my ($t, $world) = @_;

    my @keys = @{ $world->{grants}{keys} };

    $t->redis;
    Wire::upstream($t);

    $t->write_conf($t->conf(
        http => $Wire::UPSTREAM, locations => $LOCATIONS,
        issuers => join("\n", map { issuer_block(%$_) }
                                  @{ $world->{issuers} }),
        directives => {
            lockbox_redis => '%%REDIS%% timeout=20s',
            lockbox_signing_key => $keys[0]{file},
            lockbox_accept_key => [ map { $_->{public} } @keys[1 .. $#keys] ],
            lockbox_grant_issuer => $GRANTS,
            lockbox_grant_audience => $AUDIENCE,
            lockbox_leeway => "$world->{grants}{leeway}s",
        }));
    $t->run;
}

sub issuer_block {
    my (%issuer) = @_;

    return Test::Lockbox::Conf::block("lockbox_issuer $issuer{iss}",
        "keys $issuer{jwks};", "audience $issuer{aud};",
        "leeway $issuer{leeway}s;", "max_life $issuer{max_life}s;",
        map({ "role $_->{role} $_->{claim}=$_->{value};" }
            @{ $issuer{roles} }),
        map({ "$_ $issuer{$_};" }
            grep { exists $issuer{$_} } qw(tenant tenant_claim)));
}

# A grant asks for the first thing that it is good for.
sub request {
    my ($token) = @_;

    my ($method, $path, @fields) = ('GET', '/lockbox/v1/whoami');

    if ($token->{door} eq 'grant') {
        my $facts = json_decode($token->{facts} // '{}');
        my $item = $facts->{authorization_details}[0] // {};

        $method = $item->{methods}[0] // 'GET';
        $path = $item->{paths}[0] // '/tenants/acme/mail';
        utf8::encode($path);
        $path =~ s{([^A-Za-z0-9/._~-])}{sprintf '%%%02X', ord $1}ge;
        @fields = ('X-Tenant: ' . ($facts->{tenant} // 'acme'),
                   'X-Service: ' . ($item->{service} // 'mail'));
    }

    return join "\r\n", "$method $path HTTP/1.1", 'Host: localhost',
                'Content-Length: 0', @fields,
                "Authorization: Bearer $token->{token}", '', '';
}

# What is wrong about a response.
sub wrong {
    my ($token, $response) = @_;

    my $word = Wire::word($response);

    return $word if $word ne $token->{word};
    return if $word ne 'allow' || $token->{door} eq 'grant';

    my $here = $response->json;
    my $there = json_decode($token->{facts});

    return first { said($here->{$_}) ne said($there->{$_}) }
                 qw(iss sub tenant roles);
}

# The beginning of a report, with the token as a word for bash.
sub named {
    my ($token) = @_;

    my $text = $token->{token}
        =~ s{([^ -~]|[\\'])}{sprintf '\\x%02x', ord $1}ger;

    return "token $token->{number} ($token->{door}, $token->{kind}) "
           . "\$'$text'\n    ";
}

sub said {
    my ($value) = @_;

    return ref $value ? "@$value" : $value // '';
}


1;
