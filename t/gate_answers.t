#!/usr/bin/perl

# Why: an answer that the gate has not allowed must not leave, whoever made it;
# one that it has allowed says until when, is kept by nobody, and tells logs
# and the tenant API who it is for.

use strict;
use warnings;

use POSIX qw(strftime);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

sub gated {
    my ($service, @more) = @_;

    return join "\n", "location /tenants/acme/$service/ {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;", @more, "}\n";
}

my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';
my @variables = qw(decision request_id subject tenant labels expires);

$t->redis;
$t->upstream(handler => sub {
    my ($request) = @_;

    my $answer = Test::Lockbox::Upstream::echo($request);
    $answer->[1]{'Cache-Control'} = 'public, max-age=3600';
    $answer->[1]{'X-Upstream'} = 'yes';

    return $answer;
});
$t->write_conf($t->conf(http => <<'EOF_HTTP' . join(' ',
    proxy_cache_path  %%TESTDIR%%/cache keys_zone=shared:1m;
    log_format  lockbox  escape=json
EOF_HTTP
    map { "'\$lockbox_$_|'" } @variables) . ';',
    locations => join '',
    gated('mail', $upstream),
    gated('said', 'return 200 "the answer";'),
    gated('moved', 'return 302 /elsewhere;'),
    gated('gone', 'return 410;'),
    gated('failing', 'error_page 404 = /tenants/acme/said/x;',
          'root %%TESTDIR%%;'),
    gated('iffy', 'if ($arg_a) { return 200 "the answer"; }', $upstream),
    gated('cached', 'proxy_cache shared; proxy_cache_key x;', $upstream),
    gated('named', 'lockbox_label secret confidential;',
          'access_log %%TESTDIR%%/access.log lockbox;',
          map({ "proxy_set_header X-Lockbox-$_ \$lockbox_$_;" } @variables),
          $upstream),
    gated('other', 'lockbox_token $http_x_grant;',
          'lockbox_realm "tenant data";', $upstream),
    gated('file', 'root %%TESTDIR%%;'),
    <<"EOF_LOCATIONS"));
location /plain/ {
    access_log %%TESTDIR%%/access.log lockbox;
    proxy_cache shared;
    proxy_cache_key x;
    $upstream
}
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
$t->run;
$Test::Lockbox::Admin::World = $t;

my %grant;

# A grant for the whole of that service.
sub grant {
    my ($service) = @_;

    return $grant{$service} //= $t->grant(life => 3600, access => [ {
        service => $service, methods => [ 'GET' ],
        paths => [ "/tenants/acme/$service/" ],
        labels => $service eq 'named' ? [ 'confidential', 'secret' ] : [],
    } ]);
}

sub get {
    my ($service, %options) = @_;

    return $t->http($options{method} // 'GET', "/tenants/acme/$service/x"
                    . ($options{args} // ''), %options);
}

sub expires {
    my ($token) = @_;

    return strftime('%Y-%m-%dT%H:%M:%S.000Z',
                    gmtime Lockbox::Jose::decode($token)->{payload}{exp});
}


# The net

for my $case (
    [ 'return', 'said' ], [ 'a redirect', 'moved' ],
    [ 'return in an if', 'iffy', args => '?a=1' ],
) {
    my ($name, $service, %options) = @$case;

    for my $token (undef, grant($service)) {
        my $response = get($service, token => $token, %options);

        refused($response, 'internal_error', $name);
        unlike($response->head, qr/elsewhere/, "$name: no hint");
        recorded([ 'internal_error' ], "$name: on record");
    }
}

my $connection = $t->http_connect;
$connection->request('GET', '/tenants/acme/said/x');
unlike($connection->read_all, qr/the answer/,
       'nor does the answer follow its refusal');
records();

let_through(get('iffy', token => grant('iffy')), 'the if that does not hold');
recorded([ 'allow' ], 'is decided');

is(get('gone')->status, 410, "nginx's own error page tells nothing");
recorded([ 'not_decided' ], 'and is on record');

refused(get('failing', token => grant('failing')), 'internal_error',
        'what was allowed elsewhere, before an internal redirect');
is_deeply([ map { join ' ', grep { defined }
                  @$_{qw(event.type url.path event.reason)} } records() ],
          [ 'start /tenants/acme/failing/x',
            'end /tenants/acme/failing/x allow',
            'end /tenants/acme/said/x internal_error' ], 'is on record');

let_through($t->http('GET', '/plain/x'), 'a cache is filled elsewhere');
is($t->http('GET', '/plain/x')->json->{uri}, '/plain/x', 'and answers');

my $seen = $t->upstream_requests;

is(get('cached', token => grant('cached'))->json->{uri},
   '/tenants/acme/cached/x', 'where a gate is, it does not');
recorded([ 'allow' ], 'who is allowed is on record');
is(scalar $t->upstream_requests, $seen + 1, 'and asks the tenant API');


# An answer that was allowed

my $mail = grant('mail');
my $answer = get('mail', token => $mail);

let_through($answer, 'an answer');
is($answer->header('lockbox-expires'), expires($mail), 'it says until when');
is($answer->header('cache-control'), 'no-store', 'and is for nobody else');
is($answer->header('x-upstream'), 'yes', 'other fields are left alone');
is($answer->json->{headers}{authorization}, "Bearer $mail",
   'so is the Authorization field');

my $head = get('mail', method => 'HEAD', token => $mail);
is_deeply([ $head->status, $head->header('lockbox-expires'), $head->body ],
          [ 200, expires($mail), '' ], 'HEAD goes with GET');
is(get('mail', method => 'HEAD')->status, 401, 'and needs a grant as well');

my $missing = get('file', token => grant('file'));
is_deeply([ $missing->status, $missing->header('lockbox-expires'),
            $missing->header('cache-control') ],
          [ 404, expires(grant('file')), 'no-store' ],
          'a page for an error that was allowed');

is($t->http('GET', '/plain/y')->header('lockbox-expires'), undef,
   'where nothing is gated nothing is said');


# Variables

my $named = grant('named');
my $id = Lockbox::Jose::decode($named)->{payload}{jti};
my @values = ('allow', $id, 'erin', 'acme', 'secret,confidential',
              expires($named));

my $fields = get('named', token => $named)->json->{headers};
is_deeply([ map { $fields->{"x-lockbox-" . lc } } @variables ], \@values,
          'variables in what the tenant API gets');

$fields = get('named', token => $named,
              headers => { map { ("X-Lockbox-$_" => 'forged') } @variables })
              ->json->{headers};
is_deeply([ map { $fields->{"x-lockbox-" . lc } } @variables ], \@values,
          'which nobody can forge');

get('named');
get('named', token => $mail);
$t->http('GET', '/plain/z');
settle();

my @log = map { [ (split /\|/, $_, -1)[0 .. 5] ] }
          grep { /\S/ } split /\n/, $t->read_file('access.log');

is_deeply([ @log[-5 .. -1] ], [
    \@values, \@values,
    [ 'no_token', '', '', 'acme', 'secret,confidential', '' ],
    [ 'wrong_service', Lockbox::Jose::decode($mail)->{payload}{jti}, 'erin',
      'acme', 'secret,confidential', expires($mail) ],
    [ ('') x 6 ],
], 'variables in a log: allowed twice, refused twice, and not gated');


# Another place for the token, another realm

my $other = grant('other');

$answer = get('other', headers => { 'X-Grant' => $other,
                                    Authorization => 'Basic YTpi' });
let_through($answer, 'a token from another header');
is($answer->json->{headers}{authorization}, 'Basic YTpi',
   'and Authorization is left for others');

for my $case (
    [ 'no_token', 'no such header', {} ],
    [ 'no_token', 'an empty one', { 'X-Grant' => '' } ],
    [ 'no_token', 'Authorization instead', { Authorization =>
                                             "Bearer $other" } ],
    [ 'malformed_token', 'a scheme in it', { 'X-Grant' => "Bearer $other" } ],
) {
    my ($word, $name, $headers) = @$case;
    my $response = get('other', headers => $headers);

    is($response->json->{code}, $word, "$name: $word");
    like($response->header('www-authenticate'),
         qr/^Bearer realm="tenant data"(?:, error="invalid_token", .*)?$/,
         "$name: the realm");
}

done_testing;
