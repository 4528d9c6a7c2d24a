#!/usr/bin/perl

# Why: nothing that nginx's configuration language offers may waive the gate,
# go around it, or dress up its refusal; and what is cheaper than the gate has
# to come before it.

use strict;
use warnings;

use File::Path qw(make_path);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A gated location of that service, with further directives.
sub gated {
    my ($service, $more) = @_;

    return <<"EOF_LOCATION";
location /tenants/acme/$service/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  $service;
    $more
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}
EOF_LOCATION
}

$t->write_file('users', "ada:{PLAIN}secret\n");
make_path($t->testdir . '/tenants/acme/static');
$t->write_file('tenants/acme/static/a', 'a secret');

begin($t, http => <<'EOF_HTTP', server => <<'EOF_SERVER', locations => join '',
    limit_req_zone    $server_name zone=few:1m rate=1r/m;
    set_real_ip_from  127.0.0.1;
    real_ip_header    X-Real-IP;
EOF_HTTP
    error_page 401 403 503 =200 /fine;
    recursive_error_pages on;
EOF_SERVER
    gated('mail', ''),
    gated('limited', "limit_req zone=few;\nlimit_req_status 429;"),
    gated('any', "satisfy any;\nallow all;\nauth_basic x;\n"
                 . 'auth_basic_user_file %%TESTDIR%%/users;'),
    gated('small', 'client_max_body_size 10;'),
    gated('excepted', 'limit_except PUT { allow all; }'),
    gated('denied', "deny all;\nerror_page 403 /none;"),
    gated('named', "error_page 401 = \@fine;\nerror_page 403 \@fine;"),
    gated('static', "root %%TESTDIR%%;") =~ s/proxy_pass.*//r,
    gated('outer', "location /tenants/acme/outer/inner/ {
                        proxy_pass http://127.0.0.1:%%PORT_8081%%;
                    }
                    location /tenants/acme/outer/open/ {
                        lockbox off;
                        proxy_pass http://127.0.0.1:%%PORT_8081%%;
                    }"),
    <<'EOF_LOCATIONS');
location = /fine { return 200 "all is fine"; }
location @fine { return 200 "all is fine"; }
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS

my @HELP = qw(asked granted request);

# A grant for the whole of a service.
sub grant {
    my ($service) = @_;

    return $t->grant(access => [ {
        service => $service, methods => [ 'GET' ],
        paths => [ "/tenants/acme/$service/" ],
    } ]);
}

sub get {
    my ($uri, $token, @headers) = @_;

    return $t->http('GET', $uri, headers => [ @headers,
        defined $token ? [ Authorization => "Bearer $token" ] : () ]);
}


# What comes before

my $limited = '/tenants/acme/limited/a';
my $forged = $t->grant =~ s/\.[^.]*\z/.AAAA/r;

let_through(get($limited, grant('limited')), 'the first of a minute');
recorded([ 'allow' ], 'is decided');

for my $case ([ 'with a grant', grant('limited') ], [ 'without', undef ],
              [ 'with a forged one', $forged ])
{
    my ($name, $token) = @$case;

    is(get($limited, $token)->status, 429, "a flood $name is limited");

    my ($record, @more) = grep { $_->{'event.action'} eq 'access' } records();

    is_deeply([ @$record{qw(event.type event.outcome event.reason user.id
                            http.response.status_code url.path)}, @more ],
              [ 'end', 'unknown', 'not_decided', undef, 429, $limited ],
              "a flood $name: recorded, and never looked at");
}

is(scalar $t->upstream_requests, 1, 'the tenant API saw the first one');

is($t->http('POST', '/tenants/acme/small/a', body => 'x' x 11)->status, 413,
   'what nginx refuses itself, knowing the location');
is_deeply([ map { join ' ', @$_{qw(event.type event.action event.reason
                                   http.response.status_code url.path)} }
            records() ],
          [ 'end access not_decided 413 /tenants/acme/small/a' ],
          'is on record');
$t->http('POST', '/tenants/acme/small/a', body => 'x' x 10);
recorded([ 'no_token' ], 'a byte less is decided');

get('/tenants/acme/mail/a', grant('mail'), [ 'X-Real-IP', '192.0.2.7' ]);
is_deeply([ map { $_->{'source.ip'} } records() ], [ ('192.0.2.7') x 2 ],
          'the address is the one that realip has found');


# What would waive it

my $seen = $t->upstream_requests;

for my $case (
    [ 'satisfy any', '/tenants/acme/any/a', 'any' ],
    [ 'a page for errors', '/tenants/acme/mail/a', 'mail' ],
    [ 'a named page for errors', '/tenants/acme/named/a', 'named' ],
    [ 'limit_except', '/tenants/acme/excepted/a', 'excepted' ],
    [ 'a location within', '/tenants/acme/outer/inner/a', 'outer' ],
    [ 'a file', '/tenants/acme/static/a', 'static' ],
) {
    my ($name, $uri, $service) = @$case;

    refused(get($uri), 'no_token', $name);
    refused(get($uri, $forged), 'bad_signature', $name);
    refused(get($uri, grant('other')), 'wrong_service', $name, @HELP);
    recorded([ qw(no_token bad_signature wrong_service) ],
             "$name: on record");

    let_through(get($uri, grant($service)), "$name: with its grant");
    recorded([ 'allow' ], "$name: with its grant, on record");
}

is(scalar $t->upstream_requests, $seen + 5,
   'the tenant API saw what was allowed');

let_through(get('/tenants/acme/outer/open/a'), 'a location that is not gated');
recorded([], 'is not on record');

refused($t->http('GET', '/tenants/acme/any/a',
                 headers => { Authorization => 'Basic YWRhOnNlY3JldA==' }),
        'no_token', 'the right password');
records();


# What comes after

is(get('/tenants/acme/denied/a', grant('denied'))->status, 404,
   'what is allowed can be denied by others');
is_deeply([ map { join ' ', grep { defined }
                  @$_{qw(event.type event.reason http.response.status_code)} }
            records() ],
          [ 'start', 'end allow 404' ], 'and the record says how it ended');

done_testing;
