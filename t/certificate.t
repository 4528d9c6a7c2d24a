#!/usr/bin/perl

# Why: a grant that is bound to a client certificate is worth nothing to
# whoever has stolen it.  So it must open nothing on any connection but those
# of who has the certificate's key, and a demand for it must not be waived.

use strict;
use warnings;

use Lockbox::Jose qw(decode);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http;
use Test::Lockbox::Http2;
use Test::Lockbox::Nginxt;
use Test::Lockbox::Refusal;
use Test::Lockbox::Tls;

my $t = Test::Lockbox->new;

Test::Lockbox::Tls::certificate($t, 'server');

my %CERTIFICATES = map { $_ => Test::Lockbox::Tls::certificate($t, $_) }
                       qw(erin eve);

# A gated location of that service.
sub gated {
    my ($service, $bind) = @_;

    return <<"EOF_LOCATION";
location /tenants/acme/$service/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  $service;
    $bind
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}
EOF_LOCATION
}

# One where grants are collected.
sub office {
    my ($name, $bind) = @_;

    return "location /$name/ { lockbox_admin on; lockbox_bind_certificate"
           . " $bind; }\n";
}

my $TLS = <<'EOF_TLS';
ssl_certificate      %%TESTDIR%%/server.crt;
ssl_certificate_key  %%TESTDIR%%/server.key;
ssl_protocols        TLSv1.2 TLSv1.3;
EOF_TLS

$t->write_file('page.html',
               '<!--# include virtual="/tenants/acme/required/x" -->');

begin($t, http => $TLS . 'ssl_session_tickets on;', server => <<'EOF_SERVER',
listen             127.0.0.1:%%PORT_8443%% ssl http2;
listen             127.0.0.1:%%PORT_8444%% ssl;
ssl_verify_client  optional_no_ca;
add_header         X-Reused $ssl_session_reused always;
EOF_SERVER
    locations => join '',
        gated('off', 'lockbox_bind_certificate off;'),
        gated('usual', ''),
        gated('optional', 'lockbox_bind_certificate optional;'),
        gated('required', 'lockbox_bind_certificate required;'),
        office('lockbox', 'optional'), office('strict', 'required'),
        office('loose', 'off'),
        'location = /page.html { root %%TESTDIR%%; ssi on; }');

my @SERVICES = qw(off usual optional required);
my @HELP = qw(asked granted request);

my %grants = (
    nobody => grant(),
    map { $_ => grant(cnf => { 'x5t#S256' => $CERTIFICATES{$_} }) }
        keys %CERTIFICATES,
);

every_combination();
not_by_a_header();
refused_without_help();
malformed_confirmations();
http2();
subrequests();
resumption();
collecting();
what_cannot_work();

done_testing();


# A grant for all services, with these claims besides.
sub grant {
    my (%claims) = @_;

    return $t->grant(claims => \%claims, access => [ map { {
        service => $_, methods => [ 'GET' ],
        paths => [ "/tenants/acme/$_/" ],
    } } @SERVICES ]);
}

# A tunnel with somebody's certificate.
sub tunnel {
    my ($who, @options) = @_;

    return Test::Lockbox::Tls->new($t, $t->port(8443),
        $who eq 'nobody' ? () : (certificate => $who),
        options => [ @options ]);
}

# One request through a tunnel of its own.
sub through {
    my ($tunnel, $method, $uri, %options) = @_;

    return Test::Lockbox::Http->new($tunnel->port)
               ->request($method, $uri, %options)->response;
}

sub get {
    my ($who, $uri, $grant, %options) = @_;

    return through(tunnel($who), 'GET', $uri, token => $grant, %options);
}


# Whose connection, whose grant, where: one table.
sub every_combination {
    for my $who ('plain', 'nobody', sort keys %CERTIFICATES) {
        my $tunnel = $who eq 'plain' ? undef : tunnel($who);
        my $http = $tunnel ? Test::Lockbox::Http->new($tunnel->port)
                           : $t->http_connect;

        for my $whose (sort keys %grants) {
            for my $service (@SERVICES) {
                my $right = $whose eq 'nobody' ? $service ne 'required'
                                               : $whose eq $who;
                my $uri = "/tenants/acme/$service/x";
                my $name = "$who with the grant of $whose at $service";
                my $seen = () = $t->upstream_requests;
                my $got = $http->request('GET', $uri, keepalive => 1,
                                         token => $grants{$whose})->response;

                if ($right) {
                    let_through($got, $name);
                } else {
                    refused($got, 'wrong_certificate', $name);
                }

                is(scalar(() = $t->upstream_requests) - $seen, $right ? 1 : 0,
                   "$name: what the tenant API has seen");
                recorded([ $right ? 'allow' : 'wrong_certificate' ],
                         "$name: on record");
            }
        }
    }
}

# What proxies say of certificates is nothing but text here.
sub not_by_a_header {
    my $pem = $t->read_file('erin.crt');
    my $thumbprint = $CERTIFICATES{erin};
    my $der = join '', grep { !/---/ } split /\n/, $pem;

    for my $case (
        [ 'Client-Cert', ":$der:" ],
        [ 'X-Client-Cert', $pem =~ s/\n/ /gr ],
        [ 'X-SSL-Client-Cert', $der ],
        [ 'X-SSL-Client-Fingerprint', $thumbprint ],
        [ 'X-Forwarded-Client-Cert', "Hash=$thumbprint" ],
    ) {
        for my $uri ('/tenants/acme/off/x', '/tenants/acme/required/x') {
            refused($t->http('GET', $uri, token => $grants{erin},
                             headers => [ $case ]),
                    'wrong_certificate', "$case->[0] without TLS");
            refused(get('eve', $uri, $grants{erin}, headers => [ $case ]),
                    'wrong_certificate', "$case->[0] and another one's TLS");
        }
    }

    records();
}

# The twin of each is the one whose help a holder gets.
sub refused_without_help {
    my $uri = '/tenants/acme/usual/x';
    my $post = sub {
        return through(tunnel($_[0]), 'POST', $uri, token => $grants{erin});
    };

    refused($post->('erin'), 'wrong_method', 'who holds it', @HELP);
    refused($post->('eve'), 'wrong_certificate', 'who does not');

    my $dead = $t->grant(live => 0, claims => {
        cnf => { 'x5t#S256' => $CERTIFICATES{erin} } });

    refused(get('erin', $uri, $dead), 'not_live', 'who holds a dead one',
            @HELP);
    refused(get('eve', $uri, $dead), 'not_live', 'who does not hold it');

    records();
    get('eve', $uri, $grants{erin});

    my ($record) = records();

    is($record->{'user.id'}, 'erin', 'the record says whose it was');
    unlike(JSON::PP::encode_json($record),
           qr/\Q$CERTIFICATES{erin}\E|\Q$CERTIFICATES{eve}\E/,
           '... and no thumbprint');
}

sub malformed_confirmations {
    my $thumbprint = $CERTIFICATES{erin};

    for my $cnf (
        $thumbprint, [], {}, [ $thumbprint ],
        { 'x5t#S256' => substr $thumbprint, 1 },
        { 'x5t#S256' => "$thumbprint=" },
        { 'x5t#S256' => [ $thumbprint ] },
        { 'x5t' => $thumbprint }, { jkt => $thumbprint },
        { 'x5t#S256' => $thumbprint, jkt => 'a' },
    ) {
        refused(get('erin', '/tenants/acme/off/x', grant(cnf => $cnf)),
                'malformed_token', JSON::PP->new->canonical->allow_nonref
                                       ->encode($cnf));
    }

    let_through(get('erin', '/tenants/acme/off/x',
                    grant(cnf => { 'x5t#S256' => $thumbprint })),
                'the good twin');
    records();
}

# Each stream is a request of the one connection.
sub http2 {
    for my $who ('nobody', sort keys %CERTIFICATES) {
        my $tunnel = tunnel($who, '-alpn', 'h2');
        my $h2 = Test::Lockbox::Http2->new($tunnel->port);

        for my $whose (sort keys %grants) {
            my $wanted = $whose eq $who && $who ne 'nobody'
                ? '200 ok' : '401 wrong_certificate';

            is(outcome($h2->ask('GET', '/tenants/acme/required/x',
                                token => $grants{$whose})),
               $wanted, "over HTTP/2, $who with the grant of $whose");
        }

        is(outcome($h2->ask('GET', '/tenants/acme/off/x',
                            token => $grants{nobody})),
           '200 ok', "... and with none where none is required");
        $h2->close;
    }

    records();
}

# What nginx asks of itself is asked on the client's connection.
sub subrequests {
    like(get('erin', '/page.html', $grants{erin})->body,
         qr{"uri":"/tenants/acme/required/x"}, 'a part of a page');
    recorded([ 'allow' ], '... on record');

    for my $case ([ 'eve', 'erin' ], [ 'erin', 'nobody' ],
                  [ 'nobody', 'erin' ])
    {
        my ($who, $whose) = @$case;

        unlike(get($who, '/page.html', $grants{$whose})->body, qr/"uri"/,
               "not to $who with the grant of $whose");
        recorded([ 'wrong_certificate' ], '... on record');
    }
}

# A session that is resumed is that of who has begun it: it has the
# certificate of then, and none that is offered now.
sub resumption {
    for my $how ([ 'tickets', '-tls1_3' ], [ 'tickets', '-tls1_2' ],
                 [ 'cache', '-tls1_3' ], [ 'cache', '-tls1_2' ])
    {
        my ($store, $version) = @$how;

        change_conf(http => $TLS . ($store eq 'cache'
            ? "ssl_session_tickets off;\nssl_session_cache shared:tls:1m;"
            : "ssl_session_tickets on;\nssl_session_cache off;"),
            server => <<'EOF_SERVER',
listen             127.0.0.1:%%PORT_8443%% ssl http2;
ssl_verify_client  optional_no_ca;
add_header         X-Reused $ssl_session_reused always;
EOF_SERVER
            locations => gated('required',
                               'lockbox_bind_certificate required;')
                         . office('lockbox', 'optional'));

        for my $first ('nobody', 'erin') {
            my $session = $t->testdir . "/$store$version.$first";

            resumed($first, [ $version, '-sess_out', $session ], $first, '.',
                    "$store, $version, begun by $first");
            $t->wait_for(sub { -s $session }, undef, 'a session');

            for my $then ('nobody', 'erin', 'eve') {
                resumed($then, [ $version, '-sess_in', $session ], $first, 'r',
                        "$store, $version, begun by $first, "
                        . "resumed with the certificate of $then");
            }
        }
    }

    records();
}

# Whose grant such a connection opens with.
sub resumed {
    my ($certificate, $options, $whose, $reused, $name) = @_;

    my $tunnel = tunnel($certificate, @$options);
    my $http = Test::Lockbox::Http->new($tunnel->port);

    for my $grant (sort keys %grants) {
        my $response = $http->request('GET', '/tenants/acme/required/x',
            token => $grants{$grant}, keepalive => 1)->response;

        is($response->header('x-reused'), $reused, "$name: resumed or not");
        is(outcome($response),
           $grant eq $whose && $whose ne 'nobody' ? '200 ok'
                                                  : '401 wrong_certificate',
           "$name: the grant of $grant");
    }
}

# The certificate of whoever collects it goes into the grant, where the
# location says so.
sub collecting {
    my %plain;

    change_conf(http => $TLS, server => <<'EOF_SERVER',
listen             127.0.0.1:%%PORT_8443%% ssl;
ssl_verify_client  optional_no_ca;
EOF_SERVER
        locations => join '', gated('off', ''),
            gated('required', 'lockbox_bind_certificate required;'),
            office('lockbox', 'optional'), office('strict', 'required'),
            office('loose', 'off'));

    my $id = approved(access => [ map { {
        service => $_, methods => [ 'GET' ],
        paths => [ "/tenants/acme/$_/" ], labels => [] } } qw(off required) ]);
    records();

    for my $case (
        # where, who, whose certificate is in the grant (undef: refused)
        [ 'loose', 'plain', '' ], [ 'loose', 'nobody', '' ],
        [ 'loose', 'erin', '' ],
        [ 'lockbox', 'plain', '' ], [ 'lockbox', 'nobody', '' ],
        [ 'lockbox', 'erin', 'erin' ], [ 'lockbox', 'eve', 'eve' ],
        [ 'strict', 'plain', undef ], [ 'strict', 'nobody', undef ],
        [ 'strict', 'erin', 'erin' ], [ 'strict', 'eve', 'eve' ],
    ) {
        my ($where, $who, $whose) = @$case;
        my $name = "collected at $where by $who";
        my $uri = uri($id, 'grant') =~ s/lockbox/$where/r;
        my @call = ('POST', $uri, token => token_of('engineer'));
        my $got = $who eq 'plain' ? $t->http(@call)
                                  : through(tunnel($who), @call);

        if (!defined $whose) {
            refused($got, 'wrong_certificate', $name);
            is_deeply([ record_words(records()) ],
                      [ 'end collect wrong_certificate' ],
                      "$name: on record");
            next;
        }

        is_deeply([ record_words(records()) ],
                  [ 'start collect', 'end collect allow' ],
                  "$name: on record");

        my $grant = $got->json->{access_token};
        my %claims = %{ decode($grant)->{payload} };

        is_deeply(delete $claims{cnf},
                  $whose eq '' ? undef
                               : { 'x5t#S256' => $CERTIFICATES{$whose} },
                  "$name: bound to");
        %plain = %claims if !%plain;
        is_deeply(\%claims, \%plain, "$name: otherwise the same");

        next if $whose eq '';

        for my $service (qw(off required)) {
            my $target = "/tenants/acme/$service/x";

            is(outcome(get($whose, $target, $grant)), '200 ok',
               "$name: it opens $service");
            is(outcome(get($whose eq 'erin' ? 'eve' : 'erin', $target,
                           $grant)),
               '401 wrong_certificate', "$name: it opens nothing to others");
        }

        records();
    }
}

# What nobody could ever use must show before it runs.
sub what_cannot_work {
    my $needs = sub {
        my ($what) = @_;
        return qr{"lockbox_bind_certificate \s required" \s in \s
                  \S+/nginx-t\.conf:[1-9]\d* \s needs \s "\Q$what\E" \s
                  in \s the \s server \s in \s \S+/nginx-t\.conf:\d+,}x;
    };
    my $listen = 'listen 127.0.0.1:%%PORT_8443%% ssl;';
    my $verify = 'ssl_verify_client optional_no_ca;';
    my $required = 'lockbox_bind_certificate required;';

    for my $case (
        [ 'a gated location', gate(lockbox_bind_certificate => 'required'),
          gate(lockbox_bind_certificate => 'optional') ],
        [ 'an admin location',
          admin('/lockbox/', lockbox_bind_certificate => 'required'),
          admin('/lockbox/', lockbox_bind_certificate => 'optional') ],
    ) {
        my ($name, $location, $twin) = @$case;
        my %parts = (http => $TLS, locations => $location);

        rejected($t, "$name without TLS", $needs->('listen ... ssl'),
                 { %parts, server => $verify },
                 { %parts, server => "$listen $verify" });
        rejected($t, "$name without certificates",
                 $needs->('ssl_verify_client'),
                 { %parts, server => $listen },
                 { %parts, server => $listen, locations => $twin });
        rejected($t, "$name with ssl_verify_client off",
                 $needs->('ssl_verify_client'),
                 { %parts, server => "$listen ssl_verify_client off;" },
                 { %parts, server => "$listen $verify" });

        my %plain = (%parts, locations => $name =~ /admin/ ? admin() : gate());

        rejected($t, "$name by inheritance", $needs->('ssl_verify_client'),
                 { %plain, server => "$listen $required" },
                 { %plain, server => "$listen $required $verify" });
        rejected($t, "$name whose TLS is another server's",
                 $needs->('listen ... ssl'),
                 { %parts, server => $verify,
                   http => "$TLS server { $listen $verify }" },
                 { %parts, server => "$verify $listen",
                   http => "$TLS server { $listen $verify }" });
    }

    accepted($t, 'servers that nothing is gated in need nothing',
             { http => "$TLS $required server { listen unix:%%TESTDIR%%/x; }",
               locations => gate(), server => "$listen $verify" });
    accepted($t, 'a location that is not gated needs nothing',
             { locations => "location /open/ { $required }" });
    accepted($t, 'nor does one that takes it back',
             { http => $required,
               locations => gate(lockbox_bind_certificate => 'off') });

    rejected($t, 'another word',
             qr/invalid value "yes" in "lockbox_bind_certificate" directive/,
             { locations => gate(lockbox_bind_certificate => 'yes') },
             { locations => gate(lockbox_bind_certificate => 'off') });
    rejected($t, 'two of them', qr/"lockbox_bind_certificate" directive is dup/,
             { locations => gate(lockbox_bind_certificate =>
                                 [ 'off', 'optional' ]) });
}
